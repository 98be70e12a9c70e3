"""Adjusts p-values for multiple testing (Holm 1979), after the last case and from records only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.verdict import bounds
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.vocabulary import CONTROLS, Verdict

DISTANCES = ("kid", "cmmd")
"""The distances between the images of base and candidate that have a p-value."""


def with_holm(records: Iterable[CaseRecord]) -> list[CaseRecord]:
    """The records with Holm-adjusted p-values.

    There are three families:

    - All claims that can FAIL get `claim.holm`.
    - All concepts, by every distance, get `measures.kid_p_holm` and `measures.cmmd_p_holm`.
    - All invalid adversarial prompts get `claim.holm` of `claim.p_imagined`. That is the probability of at least as many hits if
      all are false positives of the judge, at the upper bound of its false positive rate.
    """
    adjusted = _with_false_positive_p_values(list(records))
    claims = [(place, record.claim.p_refuted) for place, record in enumerate(adjusted) if _may_fail(record) and record.claim]
    _adjust(adjusted, claims, lambda record, value: record.with_claim(holm=value))
    invalid_prompts = [
        (place, record.claim.p_imagined)
        for place, record in enumerate(adjusted)
        if record.verdict == Verdict.VACUOUS and record.claim
    ]
    _adjust(adjusted, invalid_prompts, lambda record, value: record.with_claim(holm=value))
    _adjust_distances(adjusted)
    return [_with_false_positive_sentence(record) for record in adjusted]


def _may_fail(record: CaseRecord) -> bool:
    return record.gating and record.group != CONTROLS


def _adjust(
    records: list[CaseRecord],
    family: Sequence[tuple[int, float | None]],
    with_adjusted: Callable[[CaseRecord, float], CaseRecord],
) -> None:
    """Replace the records of one family. `family` holds places in `records` with their p-values."""
    tested = [(place, p_value) for place, p_value in family if p_value is not None]
    for (place, _), adjusted in zip(tested, holm([p_value for _, p_value in tested]), strict=True):
        records[place] = with_adjusted(records[place], adjusted)


def _adjust_distances(records: list[CaseRecord]) -> None:
    """Replace the records of concepts: all distances of all concepts are one family."""
    family = [
        (place, distance, record.measures[f"{distance}_p_value"])
        for distance in DISTANCES
        for place, record in enumerate(records)
        if f"{distance}_p_value" in record.measures
    ]
    for (place, distance, _), adjusted in zip(family, holm([p_value for *_, p_value in family]), strict=True):
        records[place] = records[place].with_(measures=records[place].measures | {f"{distance}_p_holm": adjusted})


def _with_false_positive_p_values(records: list[CaseRecord]) -> list[CaseRecord]:
    """The records. Invalid adversarial prompts get the p-value of their hits as false positives of the judge."""
    controls = [record.claim for record in records if record.group == CONTROLS and record.claim]
    highest = next((claim.upper for claim in controls if claim.kind == "rate_at_most"), None)
    return [_with_false_positive_p_value(record, highest) for record in records] if highest is not None else records


def _with_false_positive_p_value(record: CaseRecord, highest: float) -> CaseRecord:
    claim = record.claim
    if record.verdict != Verdict.VACUOUS or claim is None or claim.kind != "rate_at_most":
        return record
    return record.with_claim(p_imagined=bounds.at_least_probability(claim.hits or 0, claim.trials or 0, highest))


def _with_false_positive_sentence(record: CaseRecord) -> CaseRecord:
    claim = record.claim
    if claim is None or claim.p_imagined is None or claim.holm is None or not claim.hits:
        return record
    return record.with_(seen=f"{record.seen} {messages.false_positive_sentence(claim.holm)}")
