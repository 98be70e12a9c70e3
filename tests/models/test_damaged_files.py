"""Damaged and dangerous weights files: one LoadError each, nothing loaded, no code run."""

from __future__ import annotations

import collections
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from payloads import Marker, Spawner
from safetensors.torch import save_file

from dmun_audit._util.errors import LoadError
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.references import parse_reference

pytestmark = pytest.mark.slow

NAME = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
UNET = "unet/diffusion_pytorch_model.safetensors"


def _with_header(path: Path, table: dict, data: bytes = b"") -> Path:
    text = json.dumps(table).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


# Damaged safetensors.


def test_empty_and_text_files(refused, tmp_path):
    for suffix in (".safetensors", ".pt"):
        (tmp_path / f"empty{suffix}").write_bytes(b"")
        assert "it is empty" in refused(tmp_path / f"empty{suffix}")
        (tmp_path / f"text{suffix}").write_text("<html>not found</html>")
        refused(tmp_path / f"text{suffix}")
    (tmp_path / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n")
    assert "Git LFS" in refused(tmp_path / "lfs.safetensors")


NO_WEIGHTS = {
    "LFS pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n", "it is a Git LFS pointer"),
    "HTML page": ("\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "it is a web page (HTML)"),
    "HTML without a doctype": ("<html>404</html>", "it is a web page (HTML)"),
    "error of a download": ('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is an XML text"),
    "JSON": ('{"error": "Repository not found"}', "it is a text file"),
    "text": ("Datei nicht gefunden: schöne Grüße" * 40, "it is a text file"),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin", ".ckpt", ".pth"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_texts_with_the_name_of_a_weights_file(base_folder, tmp_path, kind, suffix, mark):
    text, words = NO_WEIGHTS[kind]
    (tmp_path / f"model{suffix}").write_text(mark + text, encoding="utf-8")
    with pytest.raises(LoadError) as caught:
        cheap_check(parse_reference(str(tmp_path / f"model{suffix}")), parse_reference(str(base_folder)))
    assert words in caught.value.why


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"])
def test_a_pointer_in_a_pipeline_folder(copied, base_folder, name):
    (copied / UNET).unlink()
    (copied / "unet" / name).write_text(NO_WEIGHTS["LFS pointer"][0])
    with pytest.raises(LoadError, match="Git LFS pointer"):
        cheap_check(parse_reference(str(copied)), parse_reference(str(base_folder)))


def test_every_truncation_is_noticed(refused, tmp_path, edit, base_folder):
    save_file(edit, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in [*range(1, 64), *range(64, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(LoadError, match=r"cut\.safetensors"):
            cheap_check(parse_reference(str(path)), parse_reference(str(base_folder)))
    assert "cut off" in refused(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 1 << 60]},
        {"dtype": "F32", "shape": [1 << 58], "data_offsets": [0, 1 << 60]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [16, 0]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [-16, 0]},
        {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]},
        {"dtype": "F99", "shape": [2, 2], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": "2x2", "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]},
        [0, 16],
    ],
)
def test_headers_that_lie(refused, tmp_path, entry):
    path = _with_header(tmp_path / "lie.safetensors", {NAME: entry}, bytes(16))
    message = refused(path)
    assert NAME in message or "tensors take 4 bytes" in message


def test_tensors_that_overlap(refused, tmp_path):
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    path = _with_header(tmp_path / "lie.safetensors", {"conv_in.bias": one, "conv_out.bias": one}, bytes(16))
    assert "'conv_out.bias' begins at byte 0" in refused(path)


@pytest.mark.parametrize("start", [(1 << 63).to_bytes(8, "little"), (200_000_000).to_bytes(8, "little"), bytes(8)])
def test_absurd_header_lengths(refused, tmp_path, start):
    (tmp_path / "absurd.safetensors").write_bytes(start + b"{}" + bytes(64))
    refused(tmp_path / "absurd.safetensors")


def test_header_that_is_no_table(refused, tmp_path):
    for number, table in enumerate(([], "text", {"__metadata__": {"prompts": 1}})):
        refused(_with_header(tmp_path / f"{number}.safetensors", table))
    (tmp_path / "deep.safetensors").write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)
    refused(tmp_path / "deep.safetensors")


# Pickles.


@pytest.mark.parametrize("kind", [Marker, Spawner])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_does_not_run(refused, tmp_path, edit, kind, legacy, protocol):
    marker = tmp_path / "ran"
    path = tmp_path / "evil.pt"
    torch.save({**edit, "x": kind(marker)}, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    assert "its pickle would call" in refused(path)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_bare_pickle_does_not_run(refused, tmp_path, protocol):
    marker = tmp_path / "ran"
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Spawner(marker), protocol=protocol))
    message = refused(tmp_path / "evil.bin")
    assert "system" in message or protocol < 2
    assert not marker.exists()


def test_the_called_global_is_named(refused, tmp_path):
    torch.save({"x": collections.Counter("a"), "y": pytest.Config.__new__}, tmp_path / "odd.pt")
    assert "collections.Counter" in refused(tmp_path / "odd.pt")


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_pickles(refused, tmp_path, edit, legacy):
    torch.save(edit, tmp_path / "whole.pt", _use_new_zipfile_serialization=not legacy)
    whole = (tmp_path / "whole.pt").read_bytes()
    for share in (0.01, 0.3, 0.9, 0.999):
        (tmp_path / "cut.pt").write_bytes(whole[: int(len(whole) * share)])
        refused(tmp_path / "cut.pt", early=not legacy)


def test_a_compressed_archive_is_refused(refused, tmp_path, edit):
    torch.save(edit, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in whole.infolist():
            bomb.writestr(entry.filename, whole.read(entry))
        bomb.writestr("archive/data/99", bytes(50_000_000))
    assert "compressed" in refused(tmp_path / "bomb.pt")


def test_a_tensor_that_claims_to_be_huge_is_refused(refused, tmp_path):
    huge = torch.zeros(1).expand(1 << 40)
    torch.save({NAME: huge}, tmp_path / "huge.pt")
    assert f"[{1 << 40}]" in refused(tmp_path / "huge.pt", early=False)
