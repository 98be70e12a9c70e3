"""Differences between sources as records, adjusted for all that are looked at."""

from __future__ import annotations

from collections.abc import Iterable

from dmun_audit.evidence.schema import SourceDifference
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.rank_differences import RankDifference


def source_difference(damage: str, sources: tuple[str, str], found: RankDifference) -> SourceDifference | None:
    """The record of a difference, with the source of the higher rho first; None if the difference is undefined."""
    if found.difference is None or found.lower is None or found.upper is None:
        return None
    turned = found.difference < 0
    first, second = reversed(sources) if turned else sources
    lower, upper = (-found.upper, -found.lower) if turned else (found.lower, found.upper)
    return SourceDifference(
        damage=damage,
        first=first,
        second=second,
        difference=abs(found.difference),
        lower=lower,
        upper=upper,
        p_value=found.p_two_sided,
        n=found.concepts,
        needed=found.needed,
    )


def adjusted(differences: Iterable[SourceDifference | None]) -> list[SourceDifference]:
    """The differences that are defined, with their p-values adjusted over all of them."""
    defined = [each for each in differences if each is not None]
    p_values = holm([1.0 if each.p_value is None else each.p_value for each in defined])
    return [each.model_copy(update={"p_holm": p_value}) for each, p_value in zip(defined, p_values, strict=True)]
