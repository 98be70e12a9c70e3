"""Zip archives that lie about what they hold, and files of other formats under the names of weights."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import torch
from hostile_pickles import archive, named, state_dict_with, text

GOOD = state_dict_with(b"N")


def write_archives(folder, marker):
    """Zip archives that hide a pickle, hold two, or claim what is not there."""
    evil = state_dict_with(named("os.system") + text(f"touch {marker}") + b"\x85R")
    whole = archive(GOOD)
    central = whole.rindex(b"PK\x01\x02")
    files = {
        "evil.pt": archive(evil),
        "renamed-pickle.pt": archive(evil, "archive/weights.pkl"),
        "no-suffix.pt": archive(evil, "archive/data"),
        "capital-letters.pt": _archive_of({"archive/data.pkl": GOOD, "archive/DATA.PKL": evil}),
        "capital-letters-alone.pt": archive(evil, "archive/Data.pkl"),
        "twice.pt": _archive_of([("archive/data.pkl", GOOD), ("archive/data.pkl", evil)]),
        "two-folders.pt": _archive_of({"archive/data.pkl": GOOD, "other/data.pkl": evil}),
        "further-pickle.pt": _archive_of({"archive/data.pkl": GOOD, "archive/extra.pkl": evil}),
        "deflated.pt": _archive_of({"archive/data.pkl": GOOD}, zipfile.ZIP_DEFLATED),
        "bzip2.pt": _archive_of({"archive/data.pkl": evil}, zipfile.ZIP_BZIP2),
        "lzma.pt": _archive_of({"archive/data.pkl": evil}, zipfile.ZIP_LZMA),
        "bomb-of-zeros.pt": _archive_of({"archive/data.pkl": GOOD, "archive/data/0": bytes(10**8)}, zipfile.ZIP_DEFLATED),
        "wrong-checksum.pt": _changed(archive(evil), b"os\nsystem", b"os\nsysten"),
        "encrypted.pt": _with_flags(whole, 0x01),
        "strong-encryption.pt": _with_flags(whole, 0x41),
        "flag-of-patched-data.pt": _with_flags(archive(evil), 0x20),
        "newer-version.pt": whole[: central + 6] + struct.pack("<H", 999) + whole[central + 8 :],
        "size-that-lies.pt": whole[: central + 24] + struct.pack("<I", 1 << 30) + whole[central + 28 :],
        "offset-that-lies.pt": whole[: central + 42] + struct.pack("<I", 1 << 30) + whole[central + 46 :],
        "zip64-size.pt": whole[: central + 20] + b"\xff" * 8 + whole[central + 28 :],
        "no-directory.pt": whole[:central],
        "directory-cut.pt": whole[:-5],
        "prefix.pt": b"#!/bin/sh\ntouch ran\n" + whole,
        "pickle-before.pt": evil + whole,
        "archive-behind.pt": archive(evil) + whole,
        "slip.pt": _archive_of({"archive/data.pkl": GOOD, "../../outside.pkl": evil}),
        "absolute-name.pt": _archive_of({"/data.pkl": evil}),
        "empty-archive.pt": _archive_of({}),
        "only-version.pt": _archive_of({"archive/version": b"3\n"}),
        "folder-for-a-pickle.pt": _archive_of({"archive/data.pkl/": b""}),
        "torchscript.pt": _archive_of(
            {
                "m/data.pkl": state_dict_with(b"c__torch__\nMyModule\n)\x81"),
                "m/constants.pkl": GOOD,
                "m/code/__torch__.py": b"import os",
            }
        ),
        "torch-package.pt": _archive_of({"p/.data/extern_modules": b"os\n", "p/model/model.pkl": evil}),
        "data-without-bytes.pt": archive(_tensor_without_data()),
    }
    for name, content in files.items():
        (folder / f"zip-{name}").write_bytes(content)


def write_other_formats(folder, marker):
    """Files of other formats, under each suffix of a weights file."""
    evil = state_dict_with(named("os.system") + text(f"touch {marker}") + b"\x85R")
    files = {
        "gzip": gzip.compress(evil),
        "bzip2": bz2.compress(evil),
        "xz": lzma.compress(evil),
        "zlib-joblib": zlib.compress(evil),
        "joblib": b"ZF" + evil,
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
        "tar": _tar({"pickle": evil}),
        "tar-links": _tar({"storages": b""}, link="/etc/passwd"),
        "numpy-objects": _numpy(np.array([{"a": 1}], dtype=object)),
        "numpy-header": b"\x93NUMPY\x01\x00" + struct.pack("<H", 80) + b"{'descr': '|O', 'x': __import__('os')}".ljust(80) + evil,
        "npz": _npz(),
        "onnx": b"\x08\x08\x12\x07pytorch" + bytes(64),
        "gguf": b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 1 << 40),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(500),
        "keras": _archive_of({"config.json": b'{"class_name": "Lambda"}', "model.weights.h5": b"\x89HDF"}),
        "tflite": b"\x1c\x00\x00\x00TFL3" + bytes(64),
        "flax": b"\x81\xa6params\x80",
        "elf": b"\x7fELF" + bytes(200),
        "windows": b"MZ" + bytes(200),
        "script": b"#!/bin/sh\ntouch ran\n",
        "python": b"import os\n",
        "page": b"<!DOCTYPE html><html><title>Sign in</title></html>",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4\n",
        "json": b'{"unet": [1, 2, 3]}',
        "yaml": b"!!python/object/apply:os.system ['touch ran']\n",
        "png": b"\x89PNG\r\n\x1a\n" + bytes(64),
        "random": bytes(range(256)) * 8,
    }
    for number, (name, content) in enumerate(files.items()):
        suffix = (".pt", ".bin", ".safetensors", ".ckpt")[number % 4]
        (folder / f"format-{name}{suffix}").write_bytes(content)


def _archive_of(entries, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            file.writestr(name, content)
    return stream.getvalue()


def _changed(content, old, new):
    assert old in content
    return content.replace(old, new)


def _with_flags(content, flags):
    """The archive with these flags in both headers of its first entry."""
    central = content.index(b"PK\x01\x02")
    local = content[:6] + struct.pack("<H", flags) + content[8:central]
    return local + content[central : central + 8] + struct.pack("<H", flags) + content[central + 10 :]


def _tar(entries, link=None):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if link:
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, link, 0
            file.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _numpy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _npz():
    stream = io.BytesIO()
    np.savez(stream, weight=np.ones(3))
    return stream.getvalue()


def _tensor_without_data():
    """The pickle of a tensor whose storage is not in the archive."""
    stream = io.BytesIO()
    torch.save({"a": torch.ones(4)}, stream)
    with zipfile.ZipFile(stream) as file:
        return file.read(next(name for name in file.namelist() if name.endswith("data.pkl")))
