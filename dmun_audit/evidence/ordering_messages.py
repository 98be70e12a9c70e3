"""The sentences of an ordering: which source predicts the damage best, whether it can be told from others, what it would take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dmun_audit.evidence.messages import enumerated
from dmun_audit.evidence.schema import Correlation, SourceDifference
from dmun_audit.verdict.concepts_needed import ALPHA, MOST_CONCEPTS

DAMAGES = {"clip_accuracy": "CLIP accuracy", "clip_score": "CLIP score", "kid": "KID", "cmmd": "CMMD", "lpips": "LPIPS"}
"""The measures of damage, by the words of a sentence."""

CAVEAT = (
    "These numbers of concepts give a single test at the 5% level 80% power, if the observed ρ are the true ones. The best of "
    f"several observed ρ is mostly too high, so plan with more. A dossier holds at most {MOST_CONCEPTS} concepts."
)


class Sample(NamedTuple):
    """The concepts at hand in words, such as "8 concepts", and the number of their targets."""

    words: str
    targets: int = 1


def ranked(rows: Iterable[Correlation], damage: str) -> list[Correlation]:
    """The rows of one damage that have a rho, the highest first, ties in the order of the rows."""
    return sorted((row for row in rows if row.damage == damage and row.rho is not None), key=lambda row: -(row.rho or 0.0))


def damages_of(rows: Iterable[Correlation]) -> list[str]:
    """The measures of damage that have a correlation, in the order of the rows."""
    return list(dict.fromkeys(row.damage for row in rows if row.rho is not None))


def ranking_sentences(rows: Sequence[Correlation], differences: Sequence[SourceDifference], sample: Sample) -> list[str]:
    """One text for each measure of damage."""
    texts = []
    for damage in damages_of(rows):
        best, pairs = ranked(rows, damage), [each for each in differences if each.damage == damage]
        said = [_first(best), told_apart(pairs, sample.words), *_it_would_take(best, pairs, sample.targets)]
        texts.append(f"{DAMAGES.get(damage, damage)}: {' '.join(filter(None, said))}")
    return texts


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
    return " ".join(f"{_start(first)} predicts it better than {enumerated(others)}." for first, others in better.items())


def is_proven(difference: SourceDifference) -> bool:
    """Whether one source predicts the damage better than the other, at the 5% level with the adjusted p-value."""
    return difference.p_holm is not None and difference.p_holm <= ALPHA


def is_at_hand(needed: int | None, concepts: int, targets: int) -> bool:
    """Whether `concepts` of so many targets say as much as `needed` of one. Fisher's z loses three concepts of each target."""
    return needed is not None and concepts - 3 * (targets - 1) >= needed


def in_concepts(effect: float | None, needed: int | None) -> str:
    """How many concepts it takes to see an effect (a rho, or a difference of two) of this size; "–" for an effect without a value."""
    if effect is None:
        return "–"
    if effect <= 0.0:
        return "no number"
    return f"about {needed}" if needed is not None else f"more than {MOST_CONCEPTS}"


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
    return f"{enumerated(alike)} {'come' if len(alike) > 1 else 'comes'} first ({value})."


def _it_would_take(rows: Sequence[Correlation], differences: Sequence[SourceDifference], targets: int) -> list[str]:
    """How many concepts would show the best source's rho, and tell the two best apart."""
    best = rows[0]
    if best.rho is None or best.rho <= 0.0:
        return ["No number of concepts would show that damage rises with similarity at such a ρ."]
    sentences = [_takes(f"show a ρ of {signed(best.rho)}", best.rho, best.needed, best.n, targets)]
    pair = {best.source, rows[1].source} if len(rows) > 1 else set()
    between = next((each for each in differences if {each.first, each.second} == pair), None)
    if between is None or between.difference is None:
        return sentences
    if between.difference == 0.0:
        return [*sentences, "The best do not differ, so no number of concepts would tell them apart."]
    takes = _takes("tell the two best apart", between.difference, between.needed, between.n, targets)
    if is_at_hand(between.needed, between.n, targets) and not is_proven(between):
        p = "undefined" if between.p_holm is None else f"{between.p_holm:.2g}"
        takes = f"{takes.removesuffix('.')}; among all pairs, its adjusted p (Holm) is {p}."
    return [*sentences, takes]


def _takes(what: str, effect: float, needed: int | None, concepts: int, targets: int) -> str:
    """What it takes to see an effect, or that so many are at hand."""
    number = f"{in_concepts(effect, needed)} concepts{' of one target' if targets > 1 else ''}"
    if is_at_hand(needed, concepts, targets):
        at_hand = f"{concepts} of {targets} targets" if targets > 1 else concepts
        return f"A single test needs {number} to {what}, and {at_hand} are at hand."
    return f"It would take {number} to {what}."


def _start(name: str) -> str:
    return name[:1].upper() + name[1:]
