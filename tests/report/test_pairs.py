"""Which images of a case a report shows, and in which order."""

from __future__ import annotations

from pathlib import Path

from dmun_audit.evidence.run import read_run
from dmun_audit.report.pairs import FEW_PAIRS, MANY_CASES, PAIRS_SHOWN, pairs_of, shown_pairs


def test_pairs_share_prompt_and_index_and_those_against_the_claim_come_first(example: Path) -> None:
    record = next(case for case in read_run(example).cases if case.title == "Paul Gauguin is retained")
    pairs = pairs_of(record)
    assert len(pairs) == 16
    assert [pair.against_claim for pair in pairs] == [True] * 5 + [False] * 11
    for pair in pairs:
        assert pair.base is not None
        assert pair.candidate is not None
        assert pair.base.seed == pair.candidate.seed
    assert [pair.index for pair in pairs[5:]] == sorted(pair.index for pair in pairs[5:])
    boat = next(case for case in read_run(example).cases if "painting of a boat by Van Gogh" in case.title)
    assert [pair.index for pair in shown_pairs(boat)] == [14, 15, 0, 1, 2, 3, 4, 5]
    assert len(shown_pairs(record)) == PAIRS_SHOWN
    assert len({side.key for pair in shown_pairs(record) for side in (pair.base, pair.candidate) if side}) == 2 * PAIRS_SHOWN


def test_a_page_of_many_cases_shows_few_pairs_of_those_that_did_not_fail(example: Path) -> None:
    passed = next(case for case in read_run(example).cases if case.title == "Paul Gauguin is retained")
    failed = next(case for case in read_run(example).cases if case.verdict == "FAIL")
    assert len(shown_pairs(passed, MANY_CASES)) == PAIRS_SHOWN
    assert len(shown_pairs(passed, MANY_CASES + 1)) == FEW_PAIRS
    assert len(shown_pairs(failed, MANY_CASES + 1)) == PAIRS_SHOWN


def test_an_adversarial_case_is_told_by_the_candidate_not_by_its_validation(example: Path) -> None:
    record = next(case for case in read_run(example).cases if case.verdict == "FAIL")
    against = [pair for pair in pairs_of(record) if pair.against_claim]
    assert len(against) == 4
    assert all(pair.base is None for pair in against)


def test_a_control_of_sensitivity_is_told_by_what_the_judge_missed(example: Path) -> None:
    record = read_run(example).cases[0]
    against = [pair for pair in pairs_of(record) if pair.against_claim]
    assert len(against) == sum(not image.detected for image in record.images) > 0
    assert all(pair.base and not pair.base.detected for pair in against)


def test_what_a_claim_group_says_of_an_image_comes_before_what_was_detected(example: Path) -> None:
    record = next(case for case in read_run(example).cases if case.verdict == "FAIL")
    images = tuple(
        image.model_copy(update={"against": not image.detected}) for image in record.images if image.model == "candidate"
    )
    against = [pair for pair in pairs_of(record.with_(images=images)) if pair.against_claim]
    assert len(against) == 4
    assert not any(pair.candidate and pair.candidate.detected for pair in against)
