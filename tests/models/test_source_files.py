"""Digests of a model's files: what they cover, and when files are read again."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.models import source_files
from dmun_audit.models.references import parse_reference
from dmun_audit.models.source_files import Source, confirm_source, read_source, source_digest

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def pipeline(tmp_path):
    folder = tmp_path / "pipeline"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / WEIGHTS).write_bytes(b"weights")
    return folder


@pytest.fixture
def settled(monkeypatch):
    """As if every file had been written long ago: the time of a change to an inode cannot be set back."""
    monkeypatch.setattr(source_files, "COARSEST_CLOCK", 0)


@pytest.fixture
def planned(pipeline, settled):
    return read_source(parse_reference(str(pipeline)))


def forbid_reading(monkeypatch):
    monkeypatch.setattr(source_files, "digest_file", lambda path: pytest.fail(f"{path} was read"))


def test_the_digest_of_a_folder_sees_names_and_contents_only(pipeline, tmp_path):
    before = source_digest(parse_reference(str(pipeline)))
    (pipeline / "README.md").write_text("a card")
    (pipeline / ".cache").mkdir()
    (pipeline / ".cache/x.json").write_text("{}")
    moved = tmp_path / "elsewhere"
    pipeline.rename(moved)
    assert source_digest(parse_reference(str(moved))) == before
    weights = moved / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(moved / "unet/other.safetensors")
    renamed = source_digest(parse_reference(str(moved)))
    (moved / "unet/other.safetensors").write_bytes(b"Weights")
    assert len({before, renamed, source_digest(parse_reference(str(moved)))}) == 3


def test_the_digest_of_a_hub_model_is_that_of_its_revision():
    digests = {source_digest(parse_reference(text)) for text in ("a/b", "a/b@main", "a/b@other", "a/c")}
    assert len(digests) == 3


# Files that were read before.


def test_files_that_did_not_change_are_not_read_again(pipeline, planned, monkeypatch):
    reference = parse_reference(str(pipeline))
    assert planned == Source(source_digest(reference), planned.state)
    assert len(planned.state) == 64
    forbid_reading(monkeypatch)
    assert confirm_source(reference, planned) == planned.digest


def test_files_that_were_only_touched_are_read_and_are_the_same(pipeline, planned, monkeypatch):
    os.utime(pipeline / WEIGHTS)
    reference = parse_reference(str(pipeline))
    assert confirm_source(reference, planned) == planned.digest
    forbid_reading(monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="was read"):
        confirm_source(reference, planned)


def _longer(pipeline):
    (pipeline / WEIGHTS).write_bytes(b"other weights")


def _of_the_same_size_and_time(pipeline):
    before = (pipeline / WEIGHTS).stat()
    (pipeline / WEIGHTS).write_bytes(b"Weights")
    os.utime(pipeline / WEIGHTS, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(pipeline):
    (pipeline / "new").write_bytes(b"Weights")
    (pipeline / "new").replace(pipeline / WEIGHTS)


def _one_more(pipeline):
    (pipeline / "vae.safetensors").write_bytes(b"")


@pytest.mark.parametrize("change", [_longer, _of_the_same_size_and_time, _replaced, _one_more])
def test_files_that_changed_since_the_plan_are_an_error(pipeline, planned, change):
    change(pipeline)
    with pytest.raises(LoadError, match=r"(?s)pipeline changed after the audit was planned.*run the audit again"):
        confirm_source(parse_reference(str(pipeline)), planned)


def test_a_file_that_vanished_since_the_plan_is_an_error(pipeline, planned):
    (pipeline / WEIGHTS).unlink()
    with pytest.raises(UsageError, match="changed after the audit was planned"):
        confirm_source(parse_reference(str(pipeline)), planned)


def test_files_written_a_moment_ago_are_read_again(pipeline):
    reference = parse_reference(str(pipeline))
    planned = read_source(reference)
    assert planned.state == ""
    assert confirm_source(reference, planned) == planned.digest
    with pytest.raises(LoadError):
        confirm_source(reference, replace(planned, digest="0" * 64))


def test_files_that_change_while_they_are_read_are_read_again(pipeline, settled, monkeypatch):
    real = source_files.digest_file

    def digest_and_touch(path):
        os.utime(path)
        return real(path)

    monkeypatch.setattr(source_files, "digest_file", digest_and_touch)
    assert read_source(parse_reference(str(pipeline))).state == ""


def test_hub_models_are_not_read(monkeypatch):
    forbid_reading(monkeypatch)
    reference = parse_reference("owner/name@v1")
    assert confirm_source(reference, read_source(reference)) == source_digest(reference)


def test_the_digest_of_each_file_is_what_sha256sum_prints(pipeline):
    printed = subprocess.run(["sha256sum", WEIGHTS], cwd=pipeline, capture_output=True, text=True, check=True).stdout.split()[0]
    source = read_source(parse_reference(str(pipeline)))
    assert source.files.keys() == {"model_index.json", WEIGHTS}
    assert source.files[WEIGHTS] == printed
    assert source.digest == digest([[name, source.files[name]] for name in sorted(source.files)])


def test_pictures_made_elsewhere_count_in_the_digest_and_are_not_listed(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "1.png", "prompt": "a cat", "seed": 1}\n')
    before = read_source(parse_reference(f"images:{tmp_path}"))
    assert before.files.keys() == {"metadata.jsonl"}
    Image.new("RGB", (8, 8), "red").save(tmp_path / "1.png")
    assert read_source(parse_reference(f"images:{tmp_path}")).digest != before.digest
