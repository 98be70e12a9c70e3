"""The sentences of an ordering: which source predicts the damage best, whether it can be told from others, what it would take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dmun_audit.evidence.schema import Correlation, SourceDifference
from dmun_audit.verdict.concepts_needed import ALPHA, MOST_CONCEPTS

DAMAGES = {"clip_accuracy": "CLIP accuracy", "clip_score": "CLIP score", "kid": "KID", "cmmd": "CMMD", "lpips": "LPIPS"}
"""The measures of damage, by the words of a sentence."""

CAVEAT = (
    "These numbers of concepts give a single test at the 5% level 80% power, if the observed ρ are the true ones. The best of "
    "several observed ρ is mostly too high, so plan with more."
)


def ranked(rows: Iterable[Correlation], damage: str) -> list[Correlation]:
    """The rows of one damage that have a rho, the highest first, ties in the order of the rows."""
    return sorted((row for row in rows if row.damage == damage and row.rho is not None), key=lambda row: -(row.rho or 0.0))


def damages_of(rows: Iterable[Correlation]) -> list[str]:
    """The measures of damage that have a correlation, in the order of the rows."""
    return list(dict.fromkeys(row.damage for row in rows if row.rho is not None))


def ranking_sentences(rows: Sequence[Correlation], differences: Sequence[SourceDifference], sample: str) -> list[str]:
    """One text for each measure of damage. `sample` says of how many concepts, such as "8 concepts"."""
    return [
        " ".join(
            (
                f"{DAMAGES.get(damage, damage)}: {_first(ranked(rows, damage))}",
                told_apart([each for each in differences if each.damage == damage], sample),
                _it_would_take(ranked(rows, damage), [each for each in differences if each.damage == damage]),
            )
        ).strip()
        for damage in damages_of(rows)
    ]


def told_apart(differences: Sequence[SourceDifference], sample: str) -> str:
    """Which sources predict the damage better than which others; that none does, where no pair can be told apart."""
    if not differences:
        return ""
    proven = [each for each in differences if is_proven(each)]
    if not proven:
        return f"No source can be told from another with {sample}."
    better: dict[str, list[str]] = {}
    for each in proven:
        first, second = (each.first, each.second) if (each.difference or 0.0) > 0 else (each.second, each.first)
        better.setdefault(first, []).append(second)
    return " ".join(f"{_start(first)} predicts it better than {_listed(others)}." for first, others in better.items())


def is_proven(difference: SourceDifference) -> bool:
    """Whether one source predicts the damage better than the other, at the 5% level with the adjusted p-value."""
    return difference.p_holm is not None and difference.p_holm <= ALPHA


def signed(value: float | None) -> str:
    """A correlation to two decimals with its sign, such as "+0.61"."""
    return "undefined" if value is None else f"{value:+.2f}".replace("-0.00", "+0.00").replace("-", "−")


def _first(rows: Sequence[Correlation]) -> str:
    best = rows[0]
    within = f", 95% interval {signed(best.lower)} to {signed(best.upper)}" if best.lower is not None else ""
    value = f"ρ = {signed(best.rho)}{within}"
    if (best.rho or 0.0) <= 0.0:
        return f"no source predicts it: the highest is {best.source} ({value})."
    alike = [row.source for row in rows if row.rho == best.rho]
    return f"{_listed(alike)} {'come' if len(alike) > 1 else 'comes'} first ({value})."


def _it_would_take(rows: Sequence[Correlation], differences: Sequence[SourceDifference]) -> str:
    """How many concepts would show the best source's rho, and tell the two best apart."""
    best = rows[0]
    if (best.rho or 0.0) <= 0.0:
        return "No number of concepts would show that damage rises with similarity at such a ρ."
    shows = f"about {best.needed} concepts" if best.needed is not None else f"more than {MOST_CONCEPTS} concepts"
    sentence = f"It would take {shows} to show a ρ of {signed(best.rho)}"
    if len(rows) < 2:
        return f"{sentence}."
    pair = {best.source, rows[1].source}
    between = next((each for each in differences if {each.first, each.second} == pair), None)
    if between is None or between.difference is None:
        return f"{sentence}."
    if between.difference == 0.0:
        return f"{sentence}; the two best do not differ, so no number of concepts would tell them apart."
    number = f"about {between.needed}" if between.needed is not None else f"more than {MOST_CONCEPTS}"
    return f"{sentence}, and {number} to tell the two best apart."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _start(name: str) -> str:
    return name[:1].upper() + name[1:]
