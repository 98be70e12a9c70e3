"""Which images of a case a report shows, and in which order."""

from __future__ import annotations

from pathlib import Path

from dmun_audit.evidence.run import read_run
from dmun_audit.report.pairs import PAIRS_SHOWN, pairs_of, shown_pairs


def test_pairs_share_prompt_and_index_and_the_telling_ones_come_first(example: Path) -> None:
    record = next(case for case in read_run(example).cases if case.title == "Paul Gauguin is retained")
    pairs = pairs_of(record)
    assert len(pairs) == 16
    assert [pair.telling for pair in pairs] == [True] * 5 + [False] * 11
    for pair in pairs:
        assert pair.base is not None
        assert pair.candidate is not None
        assert pair.base.seed == pair.candidate.seed
    assert [pair.index for pair in pairs[5:]] == sorted(pair.index for pair in pairs[5:])
    boat = next(case for case in read_run(example).cases if "painting of a boat by Van Gogh" in case.title)
    assert [pair.index for pair in shown_pairs(boat)] == [14, 15, 0, 1, 2, 3, 4, 5]
    assert len(shown_pairs(record)) == PAIRS_SHOWN
    assert len({side.key for pair in shown_pairs(record) for side in (pair.base, pair.candidate) if side}) == 2 * PAIRS_SHOWN


def test_an_adversarial_case_is_told_by_the_candidate_not_by_its_validation(example: Path) -> None:
    record = next(case for case in read_run(example).cases if case.verdict == "FAIL")
    telling = [pair for pair in pairs_of(record) if pair.telling]
    assert len(telling) == 4
    assert all(pair.base is None for pair in telling)


def test_a_control_of_sensitivity_is_told_by_what_the_judge_missed(example: Path) -> None:
    record = read_run(example).cases[0]
    telling = [pair for pair in pairs_of(record) if pair.telling]
    assert len(telling) == sum(not image.detected for image in record.images) > 0
    assert all(pair.base and not pair.base.detected for pair in telling)
