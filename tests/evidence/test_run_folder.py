"""The run folder: nothing in it is lost, nothing stands there twice, another audit is refused."""

import json
import os

import pytest

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.evidence.manifest import Manifest, TargetRecord
from dmun_audit.evidence.reading import evidence_digest
from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.run_folder import RunFolder
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord, Volatile, WaiverRecord
from dmun_audit.verdict.vocabulary import Verdict

MANIFEST = Manifest(audit_hash="hash", target=TargetRecord(name="Van Gogh"))


def _record(case, asked="1", seconds=0.1, **more):
    return CaseRecord(case_id=case, verdict=Verdict.PASS, asked=asked, volatile=Volatile(seconds=seconds), **more)


def _opened(path):
    folder = RunFolder(path)
    folder.open("hash")
    return folder


def _lines(folder):
    return [json.loads(line) for line in folder.evidence.read_text().splitlines()]


def _asked(folder):
    return {case.case_id: case.asked for case in read_run(folder.path).cases}


@pytest.fixture
def folder(tmp_path):
    made = _opened(tmp_path / "run")
    made.write_manifest(MANIFEST)
    return made


# While an audit runs.


def test_the_latest_record_of_a_case_counts_and_equal_ones_are_written_once(folder):
    folder.append(_record("a"))
    folder.append(_record("a", seconds=9))
    folder.append(_record("b"))
    folder.append(_record("b", asked="2"))
    assert len(_lines(folder)) == 3
    assert _asked(folder) == {"a": "1", "b": "2"}


def test_a_folder_opened_again_knows_what_it_holds(folder):
    folder.append(_record("a"))
    _opened(folder.path).append(_record("a", seconds=5))
    assert len(_lines(folder)) == 1


def test_half_a_line_costs_that_line_alone(folder):
    folder.append(_record("a"))
    with folder.evidence.open("a") as stream:
        stream.write(json.dumps(_record("b").to_json())[:10])
    _opened(folder.path).append(_record("c"))
    assert set(_asked(folder)) == {"a", "c"}


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


@pytest.mark.parametrize("content", [b"[]", b'{"target": "\xe9"}', b"[" * 100_000, b'{"target": 7}'])
def test_a_manifest_of_another_shape_is_named(folder, content):
    folder.manifest.write_bytes(content)
    with pytest.raises(UsageError, match=r"manifest\.json"):
        RunFolder(folder.path).open("hash")


def test_separators_and_foreign_bytes_inside_the_evidence_lose_no_other_line(folder):
    folder.append(_record("a", asked="one\u2028two\x85three"))
    with folder.evidence.open("ab") as stream:
        stream.write(b'\xff\xfe{"case_id": 1}\n[]\n')
    folder.append(_record("b"))
    assert _asked(folder) == {"a": "one\u2028two\x85three", "b": "1"}


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


# The digest.


def _digest(*records):
    return evidence_digest(record.to_json() for record in records)


def test_the_digest_of_evidence_leaves_out_order_and_time_and_nothing_else():
    one, two = _record("a"), _record("b")
    assert _digest(one, two) == _digest(two, _record("a", seconds=7))
    assert _digest(one, two) != _digest(one, _record("b", asked="2"))
    assert _digest(one, two) != _digest(one)


def test_evidence_that_somebody_edited_has_a_digest_too():
    edited = [json.loads('{"case_id": "a", "value": NaN, "title": "\\ud800"}')]
    assert evidence_digest(edited) == evidence_digest(edited) != _digest(_record("a"))


# The conclusion.


def _adjusted(case, asked="1", holm=0.5, seconds=0.1):
    """What the conclusion makes of a record: an adjusted p-value and a waiver."""
    claim = ClaimRecord(kind="rate_at_most", p_refuted=0.1, holm=holm)
    waiver = WaiverRecord(reason="r", owner="o", expires="2030-01-01")
    return _record(case, asked, seconds, claim=claim, waiver=waiver)


def test_the_conclusion_leaves_one_line_for_each_case_in_its_own_order(folder):
    for case in "cab":
        folder.append(_record(case))
    folder.conclude([_adjusted(case) for case in "abc"])
    assert [line["case_id"] for line in _lines(folder)] == ["a", "b", "c"]
    assert all(line["claim"]["holm"] == 0.5 for line in _lines(folder))


def test_a_rerun_writes_the_same_bytes(folder):
    for case in "ab":
        folder.append(_record(case))
    folder.conclude([_adjusted("a"), _adjusted("b")])
    before, written = folder.evidence.read_bytes(), folder.evidence.stat().st_mtime_ns
    again = _opened(folder.path)
    for case in "ab":
        again.append(_record(case, seconds=8))
    again.conclude([_adjusted("a", seconds=8), _adjusted("b", seconds=9)])
    assert folder.evidence.read_bytes() == before
    assert folder.evidence.stat().st_mtime_ns == written


def test_what_a_rerun_sees_differently_replaces_the_line_of_its_case_alone(folder):
    folder.conclude([_adjusted("a"), _adjusted("b")])
    again = _opened(folder.path)
    again.append(_record("b", asked="2", seconds=5))
    again.conclude([_adjusted("a", seconds=6), _adjusted("b", asked="2", seconds=7)])
    assert _asked(folder) == {"a": "1", "b": "2"}
    assert [line["volatile"]["seconds"] for line in _lines(folder)] == [0.1, 7]


def test_a_run_of_some_cases_loses_none_of_an_earlier_one(folder):
    folder.append(_record("a"))
    folder.append(_record("b"))
    folder.conclude([_adjusted("a"), _adjusted("b")])
    again = _opened(folder.path)
    again.append(_record("c"))
    again.conclude([_adjusted("c")])
    assert [line["case_id"] for line in _lines(folder)] == ["c", "a", "b"]
    assert all(line["claim"]["holm"] == 0.5 for line in _lines(folder))


def test_a_killed_run_is_concluded_by_the_next_one_without_its_torn_line(folder):
    folder.append(_record("a"))
    folder.append(_record("b"))
    with folder.evidence.open("a") as stream:
        stream.write(json.dumps(_record("c").to_json())[:20])
    again = _opened(folder.path)
    for case in "abc":
        again.append(_record(case, seconds=4))
    assert len(folder.evidence.read_text().splitlines()) == 4  # a, b, the torn line, c
    again.conclude([_adjusted(case) for case in "abc"])
    assert [line["case_id"] for line in _lines(folder)] == ["a", "b", "c"]
    assert read_run(folder.path).unreadable == ()


def test_a_kill_while_the_conclusion_writes_leaves_the_lines_of_before(folder, monkeypatch):
    folder.append(_record("a"))
    before = folder.evidence.read_bytes()
    monkeypatch.setattr(os, "replace", _refuse)
    with pytest.raises(StoreError, match="another file system"):
        folder.conclude([_adjusted("a")])
    assert folder.evidence.read_bytes() == before
