"""The warning about a candidate whose images differ from the base's though no weight does."""

from dmun_audit.evidence.schema import CaseRecord, ImageRecord
from dmun_audit.runtime.manifest import not_by_weights


def records(base, candidate):
    images = [
        ImageRecord(model=model, prompt="a boat", seed=1, target_score=score, clip_score=0.3)
        for model, score in (("base", base), ("candidate", candidate))
    ]
    return [CaseRecord(case_id="x", verdict="PASS", images=tuple(images))]


def facts(compared, changed):
    return {"models": {"candidate": {"proof": {"compared_tensors": compared, "changed_tensors": changed}}}}


def test_other_images_from_equal_weights_are_a_warning():
    assert "in 1 of 1 pairs" in not_by_weights(facts(286, 0), records(0.9, 0.1))


def test_equal_images_changed_weights_and_unknown_weights_are_none():
    assert not not_by_weights(facts(286, 0), records(0.9, 0.9))
    assert not not_by_weights(facts(286, 3), records(0.9, 0.1))
    assert not not_by_weights(facts(0, 0), records(0.9, 0.1))
    assert not not_by_weights({}, records(0.9, 0.1))


def test_rounded_weights_explain_other_images():
    rounded = facts(286, 0)
    rounded["models"]["candidate"]["proof"]["rounded_tensors"] = 286
    assert not not_by_weights(rounded, records(0.9, 0.1))
