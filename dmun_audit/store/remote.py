"""A store in object storage: a folder at a URL, behind a folder of this machine. fsspec opens it, and only where a store has a URL.

The folder of this machine holds the URL in a file. So whoever opens that folder as a store finds the remote part.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import platformdirs

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit.store.files import write_atomically

PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
"""What opens a kind of URL. The extra `cloud` installs these packages."""

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE)
_MARK = "remote.json"
_TOGETHER = 16  # files


def is_url(text: str) -> bool:
    """Whether a store is named by a URL and not by a folder."""
    return _URL.fullmatch(text) is not None


def local_part(url: str) -> Path:
    """The folder of this machine for the store at `url`. It is in the user's cache folder, and is made if it does not exist.

    Raises UsageError for a URL without a bucket or folder, or with a password, and where the package for it is not installed.
    """
    url = url.rstrip("/")
    found = _URL.fullmatch(url)
    if found is None or not found[2].strip("/"):
        raise UsageError(f"--store={url} names no place", "a bucket or a folder is missing", "write s3://BUCKET/PREFIX")
    if re.match(r"[^/]*:[^/]*@", found[2]):
        raise UsageError(
            f"--store={found[1]}://… holds a password",
            "the URL of the store stands in the run folder",
            "leave the password out, and give it as the tools of the storage expect it",
        )
    package = PACKAGES.get(found[1].lower(), "fsspec")
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"--store={url} needs the package {package}",
            "it is not installed",
            "pip install 'dmun_audit[cloud]', or give a folder",
        )
    folder = Path(platformdirs.user_cache_dir("dmun_audit")) / "stores" / f"{slug(url)}-{digest(url)[:8]}"
    if remote_of(folder) is None:
        write_atomically(folder / _MARK, json.dumps({"url": url}).encode())
    return folder


def remote_of(folder: Path) -> Remote | None:
    """The remote part of the store whose folder of this machine is `folder`; None where it has none, or cannot be read at all."""
    try:
        value = json.loads((folder / _MARK).read_bytes())
    except OSError:
        return None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("url"), str):
        raise StoreError(f"{folder / _MARK} does not hold the URL of a store", "it is damaged", "delete it and give --store=URL")
    return Remote(value["url"], folder)


class Remote:
    """Files under `url`, by names such as `images/ab/KEY.png`. `folder` is the folder of this machine in front of it.

    Every method raises StoreError where the storage gives another answer than “there is no such file”.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder
        self._opened: tuple[Any, str] | None = None

    def names(self, folder: str) -> set[str]:
        """The names of all files below a folder, as they are now: one listing."""
        with self._reported("list"):
            system, root = self._open()
            system.invalidate_cache()
            try:
                paths = system.find(f"{root}/{folder}")
            except FileNotFoundError:
                return set()
            finally:
                system.invalidate_cache()  # what it remembers of the listing would hide files that are written later
            start = len(f"{root}/")
            return {path[path.index(f"{root}/") + start :] for path in paths}

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of those files that exist, several at the same time."""

        def content(name: str) -> bytes | None:
            try:
                return system.cat_file(f"{root}/{name}")
            except FileNotFoundError:
                return None

        with self._reported("read"):
            system, root = self._open()
            wanted = list(names)
            with ThreadPoolExecutor(_TOGETHER) as threads:
                contents = list(threads.map(content, wanted))
        return {name: data for name, data in zip(wanted, contents, strict=True) if data is not None}

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files by name, several at the same time."""
        with self._reported("write to"):
            system, root = self._open()
            with ThreadPoolExecutor(_TOGETHER) as threads:
                list(threads.map(lambda name: system.pipe_file(f"{root}/{name}", files[name]), files))

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with self._reported("write to"):
            system, root = self._open()
            try:
                system.rm_file(f"{root}/{name}")
            except FileNotFoundError:
                return

    def require_writable(self) -> None:
        """Write a file and remove it."""
        name = f"nodes/{uuid4().hex}"
        self.write({name: b"{}"})
        self.remove(name)

    def _open(self) -> tuple[Any, str]:
        """The file system of fsspec, and the path of the URL in it."""
        if self._opened is None:
            import fsspec

            local = self.url.startswith(("file://", "local://"))
            system, root = fsspec.core.url_to_fs(self.url, **({"auto_mkdir": True} if local else {}))
            self._opened = system, root.rstrip("/")
        return self._opened

    @contextmanager
    def _reported(self, act: str) -> Iterator[None]:
        """Turn an error of the storage into a StoreError: every file system of fsspec raises its own classes."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise StoreError(
                f"cannot {act} {self.url}",
                f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__,
                f"{_remedy(error)}. Images that were drawn are kept in {self._folder}, and the next run uploads them",
            ) from None


def _remedy(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "create the bucket, or correct its name"
    if isinstance(error, ImportError | ValueError):
        return "write a URL that fsspec can open, such as s3://BUCKET/PREFIX, and install the package for it"
    if isinstance(error, PermissionError) or "credential" in f"{type(error).__name__} {error}".lower():
        return "give credentials that may list, read and write there, as the tools of the storage expect them"
    return "check the network, the address of the storage and your credentials"
