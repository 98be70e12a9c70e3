"""The records that an audit keeps, in whatever order they come, and how long the verdict in its run folder stays."""

import numpy as np
import pytest
from case_records import measured, records_of

from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.evidence.run_lock import LOCK
from dmun_audit.evidence.schema import CaseRecord, Volatile
from dmun_audit.render.counts import Counts
from dmun_audit.runtime.target_audit import TargetAudit
from dmun_audit.verdict.vocabulary import Verdict


@pytest.fixture
def audit(tmp_path):
    return TargetAudit(resolve(Options(policy="smoke", store=str(tmp_path), audit_dir=str(tmp_path / "run"))))


class Runner:
    """Decides every case as PASS; `failed_control` is the record of a refuted control."""

    gradient_steps = 0

    def __init__(self, failed_control=None):
        self.failed_control = failed_control

    def record(self, case):
        return CaseRecord(case_id=case.id, group=case.group, verdict=Verdict.PASS)


def test_what_each_process_rendered_for_a_refuted_control_adds_up(audit):
    control = CaseRecord(case_id="control", group="controls", verdict=Verdict.FAIL)
    for rendered in (48, 0, 16):
        audit.keep(control.with_(volatile=Volatile(rendered=rendered, rechecked=8)))
    assert audit.records["control"].volatile.rendered == 64
    assert audit.records["control"].volatile.rechecked == 24


def test_a_case_after_a_refuted_control_gets_the_record_of_the_control(audit):
    control = CaseRecord(case_id="control", group="controls", verdict=Verdict.FAIL)
    erasure = audit.config.plan.of_group("erasure")[0]
    assert audit.check(erasure, Runner(control), Counts).case_id == "control"
    assert audit.check(erasure, Runner(), Counts).case_id == erasure.id
    first = audit.config.plan.of_group("controls")[0]
    assert audit.check(first, Runner(control), Counts).case_id == first.id


def test_the_order_in_which_workers_end_changes_no_figure(tmp_path):
    """The combined p-value was a sum in the order of the workers: its last digit differed from run to run."""
    written = []
    for number in range(4):
        folder, mixed = tmp_path / f"run{number}", np.random.default_rng(number)
        audit = TargetAudit(resolve(Options(policy="smoke", store=str(tmp_path / "store"), audit_dir=str(folder))))
        plan = audit.config.plan
        p_values = {case.id: 0.1**place for place, case in enumerate(plan.of_group("retention"))}
        records = [
            measured(each, kid_p_value=p_values.get(each.case_id, 1.0)) for each in records_of(plan).values() if not each.pooled
        ]
        audit.begin()
        for place in mixed.permutation(len(records)):
            audit.keep(records[place])
        audit.conclude()
        audit.end()
        written.append((folder / "evidence.jsonl").read_text())
    assert "kid_p_combined" in written[0]
    assert len(set(written)) == 1


def test_a_finished_audit_keeps_its_verdict_until_its_evidence_changes(tmp_path):
    """The same command with a mistyped engine made a finished PASS INCOMPLETE, and its checksums false."""
    config = resolve(Options(policy="smoke", store=str(tmp_path / "store"), audit_dir=str(tmp_path / "run")))
    records = [each for each in records_of(config.plan).values() if not each.pooled]

    def session(kept, conclude=False):
        audit = TargetAudit(config)
        audit.begin()
        for record in kept:
            audit.keep(record)
        if conclude:
            audit.conclude()
        audit.end()
        return {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file() and path.name != LOCK}

    assert b"has not finished" in session(records[:3])["manifest.json"]
    finished = session(records, conclude=True)
    assert b"has not finished" not in finished["manifest.json"]
    assert session([]) == finished  # its models could not be loaded
    assert session(records[:5]) == finished  # killed while it repeated what is known
    changed = session([records[0].with_(seen="something else", verdict=Verdict.FAIL)])
    assert b"has not finished" in changed["manifest.json"]
    assert b"has not finished" not in session(records, conclude=True)["manifest.json"]
