"""The run folder: nothing in it is lost, nothing stands there twice, another audit is refused."""

import json
import os

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.run_folder import RunFolder, fingerprint


def _record(case, value=1, seconds=0.1):
    return {"case_id": case, "value": value, "volatile": {"seconds": seconds}}


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "run")
    made.open("hash")
    made.write_manifest({"audit_hash": "hash", "target": {"name": "Van Gogh"}})
    return made


def test_the_latest_record_of_a_case_counts_and_equal_ones_are_written_once(folder):
    folder.append(_record("a"))
    folder.append(_record("a", seconds=9))
    folder.append(_record("b"))
    folder.append(_record("b", value=2))
    assert len(folder.evidence.read_text().splitlines()) == 3
    assert {key: record["value"] for key, record in folder.records().items()} == {"a": 1, "b": 2}


def test_a_folder_opened_again_knows_what_it_holds(folder):
    folder.append(_record("a"))
    again = RunFolder(folder.path)
    again.open("hash")
    again.append(_record("a", seconds=5))
    assert len(folder.evidence.read_text().splitlines()) == 1


def test_half_a_line_costs_that_line_alone(folder):
    folder.append(_record("a"))
    with folder.evidence.open("a") as stream:
        stream.write(json.dumps(_record("b"))[:10])
    again = RunFolder(folder.path)
    again.open("hash")
    again.append(_record("c"))
    assert set(again.records()) == {"a", "c"}


def test_another_audit_is_refused_and_named(folder):
    with pytest.raises(UsageError, match="holds another audit") as error:
        RunFolder(folder.path).open("other")
    assert "Van Gogh" in str(error.value)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="other files"):
        RunFolder(tmp_path).open("hash")
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_manifest_that_cannot_be_read_is_named(folder):
    folder.manifest.write_text("{")
    with pytest.raises(UsageError, match=r"manifest\.json"):
        folder.open("hash")


@pytest.mark.parametrize("content", [b"[]", b'{"target": "\xe9"}', b"[" * 100_000])
def test_a_manifest_of_another_shape_is_named(folder, content):
    folder.manifest.write_bytes(content)
    with pytest.raises(UsageError, match=r"manifest\.json"):
        RunFolder(folder.path).open("hash")


def test_separators_and_foreign_bytes_inside_the_evidence_lose_no_other_line(folder):
    folder.append(_record("a", value="one\u2028two\x85three"))
    with folder.evidence.open("ab") as stream:
        stream.write(b'\xff\xfe{"case_id": 1}\n[]\n')
    folder.append(_record("b"))
    again = RunFolder(folder.path)
    assert {key: record["value"] for key, record in again.records().items()} == {"a": "one\u2028two\x85three", "b": 1}


def test_an_image_is_kept_whole_where_no_link_can_be_made(folder, tmp_path, monkeypatch):
    source = tmp_path / "image.png"
    source.write_bytes(b"pixels")
    monkeypatch.setattr(os, "link", _refuse)
    folder.keep_image(source)
    assert (folder.path / "images" / "image.png").read_bytes() == b"pixels"


def _refuse(*_):
    raise OSError("another file system")


def test_a_file_in_the_place_of_a_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        RunFolder(tmp_path / "file").open("hash")
    with pytest.raises(UsageError, match="name another --audit-dir"):
        RunFolder(tmp_path / "file" / "run").open("hash")


def test_the_fingerprint_of_evidence_forgets_order_and_time_and_nothing_else():
    one, two = _record("a"), _record("b")
    assert fingerprint([one, two]) == fingerprint([two, _record("a", seconds=7)])
    assert fingerprint([one, two]) != fingerprint([one, _record("b", value=2)])
    assert fingerprint([one, two]) != fingerprint([one])


def test_evidence_that_somebody_edited_has_a_fingerprint_too():
    edited = [json.loads('{"case_id": "a", "value": NaN, "title": "\\ud800"}')]
    assert fingerprint(edited) == fingerprint(edited) != fingerprint([_record("a")])
