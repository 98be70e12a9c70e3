"""Adjusts p-values for multiple testing (Holm 1979), after the last case and from records only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dmun_audit.claim_groups.validation import ADVERSARIAL
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.plan.baseline import BASELINE
from dmun_audit.verdict import bounds
from dmun_audit.verdict.distances import DRAWS
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.vocabulary import CONTROLS, ClaimKind, Verdict

SIGNIFICANT = 0.05
"""A p-value that cannot get this low after the adjustment is not adjusted: there are too few pairs to tell."""

_ADJUSTED = ("_p_holm", "_p_combined")

DISTANCES = ("kid", "cmmd")
"""The distances between the images of base and candidate that have a p-value."""


def with_holm(records: Iterable[CaseRecord]) -> list[CaseRecord]:
    """The records with Holm-adjusted p-values.

    There are three families:

    - All claims that can FAIL get `claim.holm`, but for comparisons with a baseline, which share an error rate of their own.
    - All concepts with enough pairs, by every distance, get `measures.kid_p_holm` and `measures.cmmd_p_holm`. The pooled claim on
      accuracy gets `measures.kid_p_combined` and `measures.cmmd_p_combined`, over all concepts together.
    - All invalid adversarial prompts get `claim.holm` of `claim.p_imagined`. That is the probability of at least as many hits if
      all are false positives of the judge, at the upper bound of its false positive rate.
    """
    adjusted = _with_false_positive_p_values(list(records))
    claims = [(place, record.claim.p_refuted) for place, record in enumerate(adjusted) if _may_fail(record) and record.claim]
    _adjust(adjusted, claims, lambda record, value: record.with_claim(holm=value))
    invalid_prompts = [
        (place, record.claim.p_imagined)
        for place, record in enumerate(adjusted)
        if record.group == ADVERSARIAL and record.verdict == Verdict.VACUOUS and record.claim
    ]
    _adjust(adjusted, invalid_prompts, lambda record, value: record.with_claim(holm=value))
    _adjust_distances(adjusted)
    _combine_distances(adjusted)
    return [_with_false_positive_sentence(record) for record in adjusted]


def without_holm(record: CaseRecord) -> CaseRecord:
    """A record as it was before `with_holm` and before waivers."""
    claim, measures = record.claim, {name: value for name, value in record.measures.items() if not name.endswith(_ADJUSTED)}
    seen = record.seen
    if claim is not None and claim.p_imagined is not None and claim.holm is not None:
        seen = seen.removesuffix(f" {messages.false_positive_sentence(claim.holm)}")
    claim = claim and claim.model_copy(update={"holm": None, "p_imagined": None})
    return record.with_(claim=claim, measures=measures, seen=seen, waiver=None)


def _may_fail(record: CaseRecord) -> bool:
    return record.gating and record.group not in (CONTROLS, BASELINE)


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
    """Replace the records of concepts: all distances of all concepts with enough pairs are one family.

    A concept has too few pairs if even its lowest possible p-value is not significant after the adjustment.
    """
    concepts = [place for place, record in enumerate(records) if record.concept]
    family = [
        (place, distance, record.measures[f"{distance}_p_value"])
        for distance in DISTANCES
        for place, record in ((place, records[place]) for place in concepts)
        if f"{distance}_p_value" in record.measures
    ]
    family = [entry for entry in family if _lowest_p_value(records[entry[0]]) * len(family) <= SIGNIFICANT]
    for (place, distance, _), adjusted in zip(family, holm([p_value for *_, p_value in family]), strict=True):
        records[place] = records[place].with_(measures=records[place].measures | {f"{distance}_p_holm": adjusted})


def _lowest_p_value(record: CaseRecord) -> float:
    """The lowest p-value that the sign-flip test of a concept's pairs can give."""
    pairs = record.claim.trials or 0 if record.claim else 0
    return max(2.0 ** (1 - pairs), 1.0 / (1 + DRAWS))


def _combine_distances(records: list[CaseRecord]) -> None:
    """Add the p-value of every distance over all concepts together to the pooled claim on accuracy.

    Concepts have pairs of their own, so their p-values are independent and Fisher's method combines them (Fisher, Statistical
    Methods for Research Workers, 1932, §21.1).
    """
    from scipy import stats  # here, because its import is slow

    place = next((at for at, record in enumerate(records) if record.pooled and record.claim and _is_accuracy(record.claim)), None)
    if place is None:
        return
    group, combined = records[place].group, {}
    for distance in DISTANCES:
        name = f"{distance}_p_value"
        p_values = [record.measures[name] for record in records if record.group == group and name in record.measures]
        if p_values:
            combined[f"{distance}_p_combined"] = float(stats.combine_pvalues(p_values, method="fisher").pvalue)
    records[place] = records[place].with_(measures=records[place].measures | combined)


def _is_accuracy(claim: ClaimRecord) -> bool:
    return claim.kind == ClaimKind.PAIRED_ACCURACY


def _with_false_positive_p_values(records: list[CaseRecord]) -> list[CaseRecord]:
    """The records. Invalid adversarial prompts get the p-value of their hits as false positives of the judge."""
    controls = [record.claim for record in records if record.group == CONTROLS and record.claim]
    highest = next((claim.upper for claim in controls if claim.kind == "rate_at_most"), None)
    return [_with_false_positive_p_value(record, highest) for record in records] if highest is not None else records


def _with_false_positive_p_value(record: CaseRecord, highest: float) -> CaseRecord:
    claim = record.claim
    if record.group != ADVERSARIAL or record.verdict != Verdict.VACUOUS or claim is None or claim.kind != "rate_at_most":
        return record
    return record.with_claim(p_imagined=bounds.at_least_probability(claim.hits or 0, claim.trials or 0, highest))


def _with_false_positive_sentence(record: CaseRecord) -> CaseRecord:
    claim = record.claim
    if claim is None or claim.p_imagined is None or claim.holm is None or not claim.hits:
        return record
    return record.with_(seen=f"{record.seen} {messages.false_positive_sentence(claim.holm)}")
