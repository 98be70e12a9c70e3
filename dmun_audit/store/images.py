"""The store of images: one lossless PNG for each key.

Each file holds two digests. That of key and pixels is checked whenever the pixels are read. The seal, of key and bytes, shows without
decoding that the file is the one that was written under its key.

A store with a remote part (`remote`) looks into the folder of this machine first. What only the remote part has is fetched, and
then checked like any other file.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.store.files import reported, require_writable, write_atomically
from dmun_audit.store.remote import remote_of

FORMAT = 2  # raise it when the same key would stand for other pixels, or a file would say something else about itself

_COMPRESSION = 1  # half the time of zlib's usual level 6, for files that are a tenth larger
_SEAL = b"dmAU"  # the last chunk of a file but one: ancillary, private, not to be copied into a changed file
_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every PNG
_SEAL_BYTES = 12 + 32  # length, name and checksum of the chunk, and the digest

_FOLDER = "images"
_AT_ONCE = 64  # images that are fetched or uploaded together
_EARLIER = 60.0  # seconds

logger = logging.getLogger(__name__)


def image_key(
    *,
    weights: str,
    prompt: str,
    seed: int,
    sampler: dict[str, Any],
    size: tuple[int, int],
    dtype: str,
    batch: int,
    threads: int,
    environment: Mapping[str, str],
    drawing: Mapping[str, str] | None = None,
) -> str:
    """The key of one image: SHA-256 (64 hex digits) of everything that decides its pixels.

    `weights` is the digest of the weights as loaded, and `size` is (height, width) in pixels. `batch` is the number of slots of
    the batch, and `threads` the number of threads that render it: both change the last bits of an image. `environment` holds
    versions and device (`environment.rendering_environment`); it is empty for images that the audit does not render.
    `drawing` says how the pipeline was changed to draw faster, or with less memory, by name; empty where it was not.
    """
    facts = {
        "format": FORMAT,
        "weights": weights,
        "prompt": prompt,
        "seed": seed,
        "sampler": sampler,
        "size": list(size),
        "dtype": dtype,
        "batch": batch,
        "threads": threads,
        "environment": dict(environment),
    }
    return digest(facts | ({"drawing": dict(drawing)} if drawing else {}))


@dataclass(frozen=True, eq=False)
class StoredImage:
    """An image of the store: `pixels` (height, width, 3) uint8, and the `facts` that were written with them."""

    pixels: np.ndarray
    facts: dict[str, Any]


class ImageStore:
    """Images (height, width, 3) uint8 under `folder`, by key. Safe for many processes. `remote` is the remote part, if there is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remote = remote_of(folder)
        self._opened = time.time()

    @cached_property
    def _listed(self) -> tuple[set[str], float]:
        """The names of all images of the remote part, and when they were listed: once in a process."""
        now = time.time()
        return (self.remote.names(_FOLDER) if self.remote else set()), now

    def path(self, key: str) -> Path:
        """The file of the image of `key`, whether it exists or not."""
        return self.folder / _name(key)

    def written(self, key: str) -> float:
        """When the image of `key` was written, in seconds since 1970; infinity where there is none."""
        try:
            return self.path(key).stat().st_mtime
        except OSError:
            return math.inf

    def write(self, key: str, pixels: np.ndarray, facts: dict[str, Any]) -> None:
        """Store `pixels` under `key`, with `facts` (prompt, seed, model) readable in the file."""
        chunk = PngImagePlugin.PngInfo()
        chunk.add_text("dmun-audit", json.dumps({"sha256": _bound(key, pixels), **facts}))
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG", pnginfo=chunk, compress_level=_COMPRESSION)
        data = _sealed(key, stream.getvalue())
        write_atomically(self.path(key), data)
        if self.remote:
            self.remote.write({_name(key): data})

    def require_writable(self) -> None:
        """Raise StoreError where no image can be stored."""
        require_writable(self.folder)
        if self.remote:
            self.remote.require_writable()

    def share(self, keys: Sequence[str]) -> None:
        """Fetch those of these images that only the remote part has. Upload those that it lacks, which an interrupted audit left here.

        What this machine has drawn since the remote part was listed is uploaded as it is written.
        """
        if self.remote is None:
            return
        names, listed = self._listed
        self.fetch([key for key in keys if _name(key) in names])
        left = [key for key in keys if _name(key) not in names and self.written(key) < listed and self.is_whole_here(key)]
        for start in range(0, len(left), _AT_ONCE):
            self.remote.write({_name(key): self.path(key).read_bytes() for key in left[start : start + _AT_ONCE]})
        names.update(map(_name, left))

    def fetch(self, keys: Sequence[str]) -> None:
        """Fetch those of these images that this machine lacks, if the remote part has them."""
        lacking = [key for key in keys if not self.path(key).exists()] if self.remote else []
        for start in range(0, len(lacking), _AT_ONCE):
            self._fetch(lacking[start : start + _AT_ONCE])

    def _fetch(self, keys: Sequence[str]) -> None:
        """Fetch these images from the remote part. Their files count as those of an earlier audit, which may be drawn again."""
        if self.remote is None:
            return
        for name, data in self.remote.read(map(_name, keys)).items():
            write_atomically(self.folder / name, data)
            with reported(self.folder / name):
                os.utime(self.folder / name, (self._opened - _EARLIER, self._opened - _EARLIER))

    def read(self, key: str) -> np.ndarray | None:
        """The pixels of `key`, or None where there are none. See `stored`."""
        stored = self.stored(key)
        return stored.pixels if stored else None

    def stored(self, key: str) -> StoredImage | None:
        """The image of `key` with its facts; None where there is none.

        A file that does not hold what was written under this key counts as absent, and is logged as a warning: it is damaged, or it
        is the file of another key.
        """
        stored = self._stored_here(key)
        if stored is None and self.remote:
            self._fetch([key])
            stored = self._stored_here(key)
        return stored

    def _stored_here(self, key: str) -> StoredImage | None:
        path = self.path(key)
        try:
            with Image.open(path) as image:
                image.load()
                pixels = np.asarray(image.convert("RGB"))
                facts = json.loads(getattr(image, "text", {}).get("dmun-audit", "{}"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, SyntaxError) as error:
            logger.warning("%s is damaged and counts as absent: %s", path, error)
            return None
        if not isinstance(facts, dict) or facts.get("sha256") != _bound(key, pixels):
            logger.warning("%s does not hold the image that was stored under its key, and counts as absent", path)
            return None
        return StoredImage(pixels, facts)

    def __contains__(self, key: str) -> bool:
        """Whether the image of `key` is there and whole. Its file is read. It is decoded only if it has no valid seal: files that
        earlier versions wrote have none.
        """
        if self.is_whole_here(key):
            return True
        if self.remote is None or _name(key) not in self._listed[0]:
            return False
        self._fetch([key])
        return self.is_whole_here(key)

    def is_whole_here(self, key: str) -> bool:
        """Whether this machine has the file of `key`, whole."""
        try:
            data = self.path(key).read_bytes()
        except OSError:
            return False
        return _is_sealed(key, data) or self._stored_here(key) is not None


def _name(key: str) -> str:
    """The name of the file of `key` in the store."""
    return f"{_FOLDER}/{key[:2]}/{key}.png"


def _bound(key: str, pixels: np.ndarray) -> str:
    """SHA-256 of key, shape and pixels together, so that a file under another key does not match."""
    return digest_bytes(f"{key} {pixels.shape} ".encode() + pixels.tobytes())


def _sealed(key: str, png: bytes) -> bytes:
    """A PNG with a seal before its last chunk: SHA-256 of key and all bytes before the seal."""
    content, chunk = png[: -len(_END)], io.BytesIO()
    PngImagePlugin.putchunk(chunk, _SEAL, bytes.fromhex(digest_bytes(f"{key} ".encode() + content)))
    return content + chunk.getvalue() + _END


def _is_sealed(key: str, data: bytes) -> bool:
    return data == _sealed(key, data[: -_SEAL_BYTES - len(_END)] + _END)
