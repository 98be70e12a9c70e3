"""Similarity as a language model sees it: asked in several ways, several times, made into one ordering."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from typing import Any

from dmun_audit._util.hashing import seed_of
from dmun_audit.knowledge.dossier import Ordering
from dmun_audit.knowledge.interview.answers import Ranked, Rated
from dmun_audit.knowledge.interview.interviewer import Interviewer, Query
from dmun_audit.knowledge.interview.similarity import Similarity, aggregate

RANKED = 0.8  # share of the concepts that a ranking must hold: the others are placed by the other assessments


def assess(interviewer: Interviewer, told: dict[str, Any], names: Sequence[str], repeats: int) -> dict[str, Similarity]:
    """Every concept's similarity to the target that `told` tells of: rated and ranked, each `repeats` times in an order of its own."""
    orders = [_shuffled(names, interviewer.seed, repeat) for repeat in range(2 * repeats)]
    count = len(names)

    def every(items: Sequence[Any]) -> str:
        missing = sorted(set(range(1, count + 1)) - {item.number for item in items})
        return f"These numbers are missing: {', '.join(map(str, missing[:20]))}." if missing else ""

    def known(item: Any) -> tuple[Any, str]:
        return (item, "") if item.number <= count else (None, f"There is no number {item.number}.")

    queries: list[Query[Any]] = []
    for repeat, order in enumerate(orders):
        rated = repeat < repeats
        queries.append(
            Query(
                "rate" if rated else "rank",
                told | {"names": order},
                Rated if rated else Ranked,
                f"similarity ({'rated' if rated else 'ranked'}, {repeat % repeats + 1} of {repeats})",
                count,
                count if rated else math.ceil(RANKED * count),
                known,
                lambda item: str(item.number),
                every,
                alone=not rated,
                complete_or_fail=rated,
                repeat=repeat,
            )
        )
    answers = interviewer.put(queries)
    ratings, rankings = [], []
    for repeat, (order, items) in enumerate(zip(orders, answers, strict=True)):
        if repeat < repeats:
            ratings.append({order[item.number - 1]: item.rating / 100 for item in items})
        else:
            rankings.append([order[item.number - 1] for item in items])
    return aggregate(ratings, rankings)


def _shuffled(names: Sequence[str], seed: int, repeat: int) -> list[str]:
    order = list(names)
    random.Random(seed_of(seed, "order", repeat)).shuffle(order)
    return order


def ordering_of(model: str, similarity: dict[str, Similarity], kept: Collection[str]) -> Ordering:
    """The ordering by a language model of those concepts that are `kept`."""
    found = {name: assessed for name, assessed in similarity.items() if name in kept}
    return Ordering(
        source="language model",
        model=model,
        similarity={name: round(assessed.value, 4) for name, assessed in found.items()},
        spread={name: round(assessed.spread, 4) for name, assessed in found.items()},
    )
