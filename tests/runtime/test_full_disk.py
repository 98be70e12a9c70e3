"""A full disk is one clear error wherever an audit writes, and what was written before is whole."""

import json
import logging
from contextlib import suppress

import numpy as np
import pytest
from case_records import records_of
from small_disk import small_disk

from dmun_audit._util.errors import StoreError
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.run_lock import RunLock
from dmun_audit.pytest_plugin.log_file import open_log
from dmun_audit.report.files import write_reports
from dmun_audit.runtime.target_audit import TargetAudit
from dmun_audit.store.embeddings import EmbeddingStore
from dmun_audit.store.files import held
from dmun_audit.store.images import ImageStore

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)  # does not compress: 12 kB
KEYS = [f"{place:064x}" for place in range(100)]


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 2000) as made:
        yield made


def test_images_on_a_full_disk_are_whole_or_absent(disk):
    store = ImageStore(disk.folder / "store")
    disk.fill(leave=100_000)
    stored = []
    with pytest.raises(StoreError, match=r"cannot write .*\.png\n  why:  No space left on device\n  do:   free space"):  # noqa: PT012
        for key in KEYS:
            store.write(key, NOISE, {})
            stored.append(key)
    assert 3 < len(stored) < len(KEYS)
    files = [path for path in (disk.folder / "store").rglob("*") if path.is_file()]
    assert sorted(path.stem for path in files) == stored
    assert all((store.read(key) == NOISE).all() for key in stored)
    disk.free()
    store.write(KEYS[len(stored)], NOISE, {})
    assert KEYS[len(stored)] in store


def test_embeddings_on_a_full_disk_are_whole_or_absent(disk):
    store = EmbeddingStore(disk.folder / "store", "judge")
    disk.fill(leave=100_000)
    vector, stored = np.arange(2048, dtype=np.float32), []
    with pytest.raises(StoreError, match=r"cannot write .*\.sqlite\n  why:  database or disk is full\n  do:   free space"):  # noqa: PT012
        for key in KEYS:
            store.write({key: vector})
            stored.append(key)
    assert 3 < len(stored) < len(KEYS)
    assert list(store.read(KEYS)) == stored
    disk.free()
    store.write({KEYS[len(stored)]: vector})
    assert len(store.read(KEYS)) == len(stored) + 1


def test_a_lock_on_a_full_disk_is_one_clear_error(tmp_path):
    with small_disk(tmp_path / "disk", 16, files=2) as disk:  # the disk itself, and the folder
        with pytest.raises(StoreError, match=r"cannot lock .*\n  why:  No space left"), held(disk.folder / "locks" / "a.lock"):
            pass
        with pytest.raises(StoreError, match=r"cannot lock .*\n  why:  No space left"):
            RunLock(disk.folder / "locks").acquire()


@pytest.fixture
def begin(disk, tmp_path):
    """Begin an audit with its run folder on the small disk, always the same one."""
    begun = []

    def make():
        options = Options(policy="smoke", store=str(tmp_path / "store"), audit_dir=str(disk.folder / "run"))
        begun.append(TargetAudit(resolve(options)))
        begun[-1].begin()
        return begun[-1]

    yield make
    for audit in begun:
        audit.end()


def test_evidence_on_a_full_disk_loses_no_earlier_record_and_goes_on_with_the_torn_one(begin, disk):
    first = begin()
    records = list(records_of(first.config.plan).values())
    first.keep(records[0])
    disk.fill()
    with pytest.raises(StoreError, match=r"cannot write .*evidence\.jsonl\n  why:  No space left on device"):  # noqa: PT012
        for record in records[1:]:
            first.keep(record)
    kept = list(read_run(first.folder.path).cases)
    assert [case.case_id for case in kept] == [record.case_id for record in records[: len(kept)]]
    assert 1 <= len(kept) < len(records)
    first.end()
    disk.free()
    again = begin()
    for record in records:
        again.keep(record)
    assert [case.case_id for case in read_run(first.folder.path).cases] == [record.case_id for record in records]


def test_a_run_goes_on_from_a_full_disk_with_one_clear_error(begin, disk):
    first = begin()
    record = next(iter(records_of(first.config.plan).values()))
    first.keep(record)
    with first.folder.evidence.open("a") as stream:
        stream.write('{"case_id": "torn' + " " * (-first.folder.evidence.stat().st_size % 4096 - 17))  # to the end of a block
    assert first.folder.evidence.stat().st_size % 4096 == 0
    first.end()
    disk.fill()
    with pytest.raises(StoreError, match=r"\n  why:  No space left on device\n  do:   free space"):
        begin()
    disk.free()
    assert read_run(disk.folder / "run").verdict == "INCOMPLETE"
    assert begin().folder.contents().keys() == {record.case_id}


@pytest.mark.parametrize("leave", range(0, 400_000, 40_000))
def test_a_disk_that_is_full_at_the_conclusion_leaves_no_verdict_without_its_reports(leave, begin, disk):
    """Wherever the space ends: either everything was written, or the manifest holds no verdict and no report is half."""
    audit = begin()
    for record in records_of(audit.config.plan).values():
        audit.keep(record)
    disk.fill(leave)
    with suppress(StoreError):  # any other error fails the test
        audit.conclude()
    run = disk.folder / "run"
    manifest = json.loads((run / "manifest.json").read_text())
    page, junit = run / "report.html", run / "junit.xml"
    assert not page.exists() or page.read_text().rstrip().endswith("</html>")
    assert not junit.exists() or junit.read_text().rstrip().endswith("</testsuites>")
    if manifest["verdict"] != "INCOMPLETE":
        assert page.exists()
        assert junit.exists()
    assert not [path.name for path in run.rglob(".partial-*")]
    audit.end()
    disk.free()
    again = begin()
    for record in records_of(again.config.plan).values():
        again.keep(record)
    assert again.conclude().verdict != "INCOMPLETE"
    assert page.read_text().rstrip().endswith("</html>")


def test_reports_written_again_on_a_full_disk_leave_the_earlier_ones_whole(begin, disk):
    audit = begin()
    for record in records_of(audit.config.plan).values():
        audit.keep(record)
    run = audit.conclude().path
    audit.end()
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    disk.fill()
    with pytest.raises(StoreError, match="cannot write") as raised:
        write_reports(read_run(run))
    assert "No space left on device" in raised.value.why
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_log_on_a_full_disk_says_so_once_and_raises_nothing_where_it_is_written(disk, capsys):
    log = open_log(disk.folder / "run", "main", "INFO")
    logger = logging.getLogger("dmun_audit.render.engine")
    logger.info("written")
    assert log.failure == ""
    disk.fill()
    for _ in range(1000):
        logger.info("lost")
    path = disk.folder / "run" / "logs" / "main.log"
    expected = f"cannot write {path}\n  why:  No space left on device\n  do:   free space or choose another folder"
    assert log.failure == log.end() == expected
    assert "written" in path.read_text().splitlines()[0]
    assert capsys.readouterr().err == ""
    assert log not in logging.getLogger("dmun_audit").handlers
    disk.free()


def test_a_log_that_cannot_be_created_is_one_clear_error(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(StoreError, match=r"cannot write .*main\.log"):
        open_log(tmp_path / "run", "main", "INFO")
