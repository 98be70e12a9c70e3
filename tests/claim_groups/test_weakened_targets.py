"""The controls of the judge: weakened targets, the image that sets the threshold, and false positives before calibration."""

from dataclasses import replace

import pytest
from textured_pictures import picture
from written_observations import WrittenAudit

from dmun_audit.decisions.conclude import Interruptions, conclude
from dmun_audit.evidence.schema import CalibrationImage
from dmun_audit.measures.weakening import WEAKENINGS, kind_of
from dmun_audit.policy import load_policy
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

STANDARD = load_policy("standard")
ALONE = replace(STANDARD, substitute=None)
ALL_KINDS = {kind_of(view) for view in WEAKENINGS}


def control(kinds=(), policy=STANDARD, **outcomes):
    """The control of a judge that detects the target in weakened images of these kinds."""
    audit = WrittenAudit(
        policy,
        pixels=lambda request: picture(request.seed),
        after=lambda change, request: kind_of(change) in kinds,
        **outcomes,
    )
    return audit, audit.runner.record(audit.plan.of_kind("weakened"))


def test_what_the_judge_misses_is_caught_by_the_claims_on_substitutes():
    _, record = control()
    assert record.verdict == Verdict.PASS
    assert {record.measures[f"weakened_{kind}_detected"] for kind in ALL_KINDS} == {0.0}
    assert {record.measures[f"weakened_{kind}_caught"] for kind in ALL_KINDS} == {1.0}
    assert "darkened 0% and 100%" in record.seen


def test_without_these_claims_the_judge_must_detect_every_kind():
    _, record = control(ALL_KINDS, ALONE)
    assert record.verdict == Verdict.PASS
    audit, record = control(ALL_KINDS - {"blurred"}, ALONE)
    assert record.verdict == Verdict.FAIL
    assert "Too few are caught that are blurred: the floor is 50%" in record.seen
    assert (record.claim.kind, record.claim.hits, record.claim.trials, record.claim.threshold) == ("weakened", 0, 16, 0.5)
    verdict = conclude(audit.plan, {record.case_id: record}, Interruptions())
    assert verdict.verdict == AuditVerdict.INCOMPLETE
    assert "blurred" in verdict.reasons[0]


def test_only_images_in_which_the_judge_sees_the_target_are_weakened():
    prompts = STANDARD and [request.prompt for request in WrittenAudit(STANDARD).plan.of_kind("weakened").images]
    _, record = control(invalid=prompts[:4])
    assert record.claim.trials == 16 - sum(prompt in prompts[:4] for prompt in prompts)
    _, record = control(invalid=prompts)
    assert (record.verdict, record.claim.trials) == (Verdict.FAIL, 0)


def test_a_policy_without_the_floor_has_no_such_control():
    policy = replace(STANDARD, controls=replace(STANDARD.controls, weakened_floor=None))
    kinds = [case.kind for case in WrittenAudit(policy).plan.of_group("controls")]
    assert kinds == ["sensitivity", "specificity", "validity"]


# The threshold.


def sensitivity(threshold, *calibration):
    audit = WrittenAudit(STANDARD, detection={"threshold": threshold, "calibration_images": 72.0}, calibration=calibration)
    return audit.runner.record(audit.plan.of_kind("sensitivity"))


def image(score, **fields):
    return CalibrationImage(key="k", target_score=score, prompt="a boat by Monet", index=3, **fields)


def test_the_image_that_sets_the_threshold_is_named():
    assert "threshold" not in sensitivity(0.2, image(0.1)).seen
    record = sensitivity(0.35, image(0.9), image(0.35, sets_threshold=True))
    assert "The detection threshold, 0.35, is the score of “a boat by Monet” (image 3)" in record.seen
    capped = sensitivity(0.5, image(0.99, sets_threshold=True))
    assert (
        "The detection threshold is capped at 0.5; the score of “a boat by Monet” (image 3), 0.99, would set it." in capped.seen
    )


@pytest.mark.parametrize(
    ("over", "threshold", "verdict"),
    [(0, 0.5, Verdict.PASS), (12, 0.5, Verdict.PASS), (30, 0.5, Verdict.FAIL), (30, 0.2, Verdict.PASS)],
)
def test_specificity_is_also_asked_at_the_lowest_threshold(over, threshold, verdict):
    """`over` of 72 images score .3, so that a threshold of .5 hides them."""
    plan = WrittenAudit(STANDARD).plan
    high = set(plan.of_kind("specificity").images[:over])
    detection = {"threshold": threshold, "calibration_images": 72.0} | ({"threshold_lowest": 0.2} if threshold > 0.2 else {})
    clean = {request.prompt for request in plan.of_kind("specificity").images}
    audit = WrittenAudit(STANDARD, detection=detection, invalid=clean, scores=lambda request: 0.3 if request in high else 0.01)
    record = audit.runner.record(audit.plan.of_kind("specificity"))
    assert record.verdict == verdict
    said = "At the lowest threshold, 0.2, before calibration" in record.seen
    assert said == (threshold > 0.2 and over / 72 > 0.10)
    if threshold > 0.2:
        assert record.measures["false_positive_rate_lowest"] == pytest.approx(over / 72)
