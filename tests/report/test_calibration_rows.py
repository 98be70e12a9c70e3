"""The page names the calibration image that sets a detection threshold."""

from types import SimpleNamespace

from dmun_audit.evidence.schema import CalibrationImage, CaseRecord, ClaimRecord
from dmun_audit.report.html.cases import view_case


def _rows(*calibration):
    record = CaseRecord(
        case_id="seen", verdict="PASS", claim=ClaimRecord(kind="rate_at_least", hits=3, trials=4), calibration=calibration
    )
    return dict(view_case(SimpleNamespace(cases=()), record).numbers)


def test_the_image_that_sets_a_threshold_is_named_with_its_score():
    plain = CalibrationImage(key="a", target_score=0.1, view_score=0.2, prompt="a house by Monet", index=1)
    first = CalibrationImage(
        key="b", target_score=0.31, view_score=0.1, prompt="a boat by <Seurat>", index=2, sets_threshold=True
    )
    other = CalibrationImage(key="c", target_score=0.1, view_score=0.72, prompt="a cat", index=0, sets_view_threshold=True)
    rows = _rows(plain, first, other)
    assert rows["Image without the target that sets the threshold"] == "a boat by <Seurat>, image 2, score 0.31"
    assert rows["Image that sets the threshold of the view"] == "a cat, image 0, score 0.72"
    assert not any("Monet" in row for row in rows.values())
    assert not any("sets" in name for name in _rows(plain))
