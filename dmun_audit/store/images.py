"""The store of images: one lossless PNG for each key, with the digest of its pixels inside, which every reading checks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.store.files import write_atomically

FORMAT = 1  # raise it when the same key would stand for other pixels


def image_key(
    *, weights: str, prompt: str, seed: int, sampler: dict[str, Any], size: tuple[int, int], dtype: str, batch: int, threads: int
) -> str:
    """The key of one image: SHA-256 (64 hex digits) of everything that decides its pixels.

    `weights` is the digest of the weights as loaded, and `size` is (height, width) in pixels. `batch` is the number of slots of
    the batch, and `threads` the number of threads that render it: both change the last bits of an image.
    """
    return digest(
        {
            "format": FORMAT,
            "weights": weights,
            "prompt": prompt,
            "seed": seed,
            "sampler": sampler,
            "size": list(size),
            "dtype": dtype,
            "batch": batch,
            "threads": threads,
        }
    )


class ImageStore:
    """Images (height, width, 3) uint8 under `folder`, by key. Safe for many processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """The file of the image of `key`, whether it exists or not."""
        return self.folder / "images" / key[:2] / f"{key}.png"

    def write(self, key: str, pixels: np.ndarray, facts: dict[str, Any]) -> None:
        """Store `pixels` under `key`, with `facts` (prompt, seed, model) readable in the file."""
        chunk = PngImagePlugin.PngInfo()
        chunk.add_text("dmun-audit", json.dumps({"sha256": digest_bytes(pixels.tobytes()), **facts}))
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG", pnginfo=chunk)
        write_atomically(self.path(key), stream.getvalue())

    def read(self, key: str) -> np.ndarray | None:
        """The pixels of `key`, or None where there are none or the file does not match its own digest."""
        try:
            with Image.open(self.path(key)) as image:
                image.load()
                pixels = np.asarray(image.convert("RGB"))
                facts = json.loads(getattr(image, "text", {}).get("dmun-audit", "{}"))
        except (OSError, ValueError, SyntaxError):
            return None
        return pixels if facts.get("sha256") == digest_bytes(pixels.tobytes()) else None

    def __contains__(self, key: str) -> bool:
        return self.read(key) is not None
