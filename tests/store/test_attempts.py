"""The log of attempts: every audit of the same weights stands there once, whatever was killed while it was written."""

import multiprocessing
from dataclasses import replace

import pytest

from dmun_audit._util.errors import StoreError
from dmun_audit.store.attempts import Attempt, AttemptLog

WEIGHTS = "a" * 64
FIRST = Attempt("1" * 64, "2026-11-20T10:00:00Z", "van-gogh-1", "Van Gogh", "release", "p" * 64, "d" * 64, 5, "after fingerprint")
SECOND = replace(FIRST, audit_hash="2" * 64, began="2026-11-21T10:00:00Z", folder="van-gogh-2", policy="mine")


@pytest.fixture
def log(tmp_path):
    return AttemptLog(tmp_path, WEIGHTS)


def test_an_audit_stands_there_once_with_every_verdict_that_it_came_to(log):
    assert log.attempts() == []
    for attempt in (FIRST, replace(FIRST, verdict="INCONCLUSIVE"), SECOND, replace(FIRST, verdict="PARTIAL"), SECOND):
        log.append(attempt)
    assert log.attempts() == [replace(FIRST, verdict="INCONCLUSIVE, then PARTIAL"), SECOND]
    assert len(log.path.read_bytes().splitlines()) == 5  # nothing was rewritten


def test_a_line_that_was_cut_short_or_edited_loses_itself_alone(log):
    log.append(FIRST)
    with log.path.open("ab") as stream:
        stream.write(b'{"audit_hash": 5}\n[1]\n"x"\n\xff\n{"audit_hash": "3')
    log.append(SECOND)
    assert log.attempts() == [FIRST, SECOND]


def test_other_weights_have_another_log(log, tmp_path):
    log.append(FIRST)
    assert AttemptLog(tmp_path, "b" * 64).attempts() == []


def _append(folder, number):
    log = AttemptLog(folder, WEIGHTS)
    for place in range(20):
        log.append(replace(FIRST, audit_hash=f"{number}-{place}"))


def test_many_processes_write_whole_lines(log, tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append, args=(tmp_path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {attempt.audit_hash for attempt in log.attempts()} == {f"{n}-{place}" for n in range(4) for place in range(20)}


def test_a_log_that_cannot_be_written_is_told(log, tmp_path):
    (tmp_path / "attempts").write_text("a file in its place")
    with pytest.raises(StoreError, match=r"cannot (write|lock|read)"):
        log.append(FIRST)
