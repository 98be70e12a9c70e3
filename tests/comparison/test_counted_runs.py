"""Which runs count in a comparison, and the reason against the others."""

from pathlib import Path

import pytest
from case_records import records_of
from ordered_concepts import PACK, plan_of

from dmun_audit.comparison.runs import CountedRun, reason_against
from dmun_audit.evidence.manifest import Manifest
from dmun_audit.evidence.run import Run
from dmun_audit.verdict.vocabulary import AuditVerdict

ORDERING = next(record for record in records_of(plan_of(PACK)).values() if record.group == "ordering")


def a_run(verdict=AuditVerdict.PASS, exit_code=0, cases=(ORDERING,), contradictions=(), models=None, **facts):
    manifest = Manifest(verdict=verdict, exit_code=exit_code, models=models or {}, **facts)
    return Run(Path("run"), manifest, tuple(cases), contradictions=contradictions)


@pytest.mark.parametrize("verdict", [AuditVerdict.PASS, AuditVerdict.FAIL, AuditVerdict.INCONCLUSIVE, AuditVerdict.PARTIAL])
def test_finished_runs_count_whatever_they_found(verdict):
    assert reason_against(a_run(verdict)) == ""


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"contradictions": ("evidence.jsonl changed.", "x")}, "its files contradict its verdict (evidence.jsonl changed)"),
        ({"exit_code": None}, "it was not concluded"),
        ({"format": 2}, "an earlier version wrote it, and it holds no dossier"),
        (
            {"verdict": AuditVerdict.INCOMPLETE, "reasons": ("A control failed.",)},
            "its verdict is INCOMPLETE (A control failed)",
        ),
        ({"verdict": AuditVerdict.PARTIAL, "cases": ()}, "only part of its plan ran, and the claim group ordering is not in it"),
        ({"interruptions": {"stopped": "interrupted"}}, "it was stopped early (interrupted)"),
    ],
)
def test_other_runs_are_left_out_with_the_reason(facts, reason):
    assert reason_against(a_run(**facts)) == reason


def test_a_candidate_is_known_by_its_tensors_and_a_target_by_its_name():
    loaded = a_run(models={"candidate": {"reference": "a", "source_digest": "s", "tensors_digest": "t"}})
    assert CountedRun(loaded, PACK, ()).candidate == "t"
    pictures = a_run(models={"candidate": {"reference": "images:x", "source_digest": "s"}})
    assert CountedRun(pictures, PACK, ()).candidate == "s"
    assert CountedRun(loaded, PACK, ()).target == "van gogh"
