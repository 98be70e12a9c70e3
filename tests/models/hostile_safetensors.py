"""Broken safetensors files."""

from __future__ import annotations

import json

import torch
from safetensors.torch import save_file

K = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"  # (8, 16) in the tiny UNet
BIG = 2_000_000  # numbers of a tensor that makes a file of 8 MB


def _header(path, table, data=b"", length=None):
    text = json.dumps(table).encode() if not isinstance(table, bytes) else table
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)


def _entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write_safetensors(folder):
    """Broken safetensors files."""
    good = {K: torch.randn(8, 16)}
    big = {**good, "junk": torch.zeros(BIG)}
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "seven-bytes.safetensors").write_bytes(b"\1\0\0\0\0\0\0")
    (folder / "page.safetensors").write_text("<!doctype html><title>404</title>")
    (folder / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n")
    _header(folder / "length-of-a-petabyte.safetensors", {K: _entry([1], 0, 4)}, b"1234", length=1 << 50)
    _header(folder / "no-json.safetensors", b"{" + b"\xff" * 200)
    _header(folder / "deep-json.safetensors", b'{"a":' + b"[" * 100_000)
    _header(folder / "a-list.safetensors", [])
    _header(folder / "metadata-of-numbers.safetensors", {"__metadata__": {"rank": 1}})
    _header(folder / "past-the-end.safetensors", {K: _entry([8, 16], 0, 512)}, bytes(100))
    _header(folder / "terabytes.safetensors", {K: _entry([1 << 38], 0, 1 << 40)}, bytes(512))
    _header(folder / "negative.safetensors", {K: _entry([8, 16], -512, 0)}, bytes(512))
    _header(folder / "backwards.safetensors", {K: _entry([8, 16], 512, 0)}, bytes(512))
    _header(folder / "overlap.safetensors", {K: _entry([8, 16], 0, 512), "conv_in.bias": _entry([8], 0, 32)}, bytes(512))
    _header(folder / "gap.safetensors", {K: _entry([8, 16], 64, 576)}, bytes(576))
    _header(folder / "too-many-bytes.safetensors", {K: _entry([8, 16], 0, 512)}, bytes(600))
    _header(folder / "shape-that-lies.safetensors", {K: _entry([8, 17], 0, 512)}, bytes(512))
    _header(folder / "unknown-type.safetensors", {K: _entry([8, 16], 0, 512, "F31")}, bytes(512))
    save_file(big, folder / "cut.safetensors")
    whole = (folder / "cut.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-1])
    save_file(big, folder / "unknown-name.safetensors")
    save_file({K: torch.zeros(BIG)}, folder / "large-and-misshapen.safetensors")
    save_file({K: torch.randn(16, 8)}, folder / "transposed.safetensors")
    _header(
        folder / "numbers-without-end.safetensors",
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 4000 + b"," + b"9" * 4000 + b'],"data_offsets":[0,4]}}',
        b"1234",
    )
    _header(folder / "lists-without-end.safetensors", b'{"a":[' + b"[]," * 2_000_000 + b"[]]}")
    _header(folder / "texts-without-end.safetensors", b'{"a":[' + b'"",' * 2_000_000 + b'""]}')
    _header(folder / "tensors-without-end.safetensors", {f"t{number}": _entry([0], 0, 0) for number in range(150_000)})
    save_file({"net." * 50_000 + "x": torch.ones(1)}, folder / "name-without-end.safetensors")
    save_file({K: torch.full((8, 16), float("nan"))}, folder / "nan.safetensors")
    save_file({K: torch.full((8, 16), float("inf"))}, folder / "inf.safetensors")
    save_file({K: torch.zeros(8, 16, dtype=torch.int8)}, folder / "int8.safetensors")
    save_file({K: torch.zeros(8, 16, dtype=torch.float8_e4m3fn)}, folder / "float8.safetensors")
