"""Similarity as a language model assesses it: asked in two ways, several times, combined into one ordering."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dmun_audit._util.hashing import seed_of
from dmun_audit.knowledge.dossier import Ordering
from dmun_audit.knowledge.interview.answers import NumberedRating, RankedNumber
from dmun_audit.knowledge.interview.interviewer import ItemRequest, Validated
from dmun_audit.knowledge.interview.panel import Collector
from dmun_audit.knowledge.interview.similarity import Similarity, aggregate

RANKED_SHARE = 0.8  # of the concepts; a ranking of fewer is not valid

Numbered = NumberedRating | RankedNumber


def assess_similarity(
    interviewer: Collector, target_values: Mapping[str, Any], names: Sequence[str], repeats: int, *, optional: bool = False
) -> dict[str, Similarity]:
    """The similarity of each named concept to the target, rated and ranked `repeats` times each.

    Every question lists the concepts in another order. `target_values` describe the target to the question's template. With
    `optional`, what fails is left out: ratings count as far as they go, rankings of too few concepts do not count, and the result
    may lack concepts.
    """
    orders = [_shuffled(names, interviewer.seed, repeat) for repeat in range(2 * repeats)]
    requests: list[ItemRequest[Any]] = [
        _rating_request(target_values, order, repeat, repeats)
        if repeat < repeats
        else _ranking_request(target_values, order, repeat, repeats)
        for repeat, order in enumerate(orders)
    ]
    answers = interviewer.collect([replace(request, optional=optional) for request in requests])
    numbered = list(zip(orders, answers, strict=True))
    ratings = [{order[item.number - 1]: item.rating / 100 for item in items} for order, items in numbered[:repeats]]
    rankings = [[order[item.number - 1] for item in items] for order, items in numbered[repeats:]]
    return aggregate(ratings, [ranking for ranking in rankings if len(ranking) >= RANKED_SHARE * len(names)])


def _rating_request(
    target_values: Mapping[str, Any], order: Sequence[str], repeat: int, repeats: int
) -> ItemRequest[NumberedRating]:
    return ItemRequest(
        template="rate",
        values={**target_values, "names": order},
        item_type=NumberedRating,
        topic=f"similarity (rated, {repeat + 1} of {repeats})",
        wanted=len(order),
        minimum=len(order),
        validate=lambda item: _validate_number(item, len(order)),
        identity=lambda item: str(item.number),
        list_problem=lambda items: _missing_numbers(items, len(order)),
        repeat=repeat,
    )


def _ranking_request(
    target_values: Mapping[str, Any], order: Sequence[str], repeat: int, repeats: int
) -> ItemRequest[RankedNumber]:
    return ItemRequest(
        template="rank",
        values={**target_values, "names": order},
        item_type=RankedNumber,
        topic=f"similarity (ranked, {repeat % repeats + 1} of {repeats})",
        wanted=len(order),
        minimum=math.ceil(RANKED_SHARE * len(order)),
        validate=lambda item: _validate_number(item, len(order)),
        identity=lambda item: str(item.number),
        list_problem=lambda items: _missing_numbers(items, len(order)),
        list_problem_fails=False,
        whole_lists=True,
        repeat=repeat,
    )


def _validate_number(item: Any, count: int) -> Validated[Any]:
    return (item, "") if item.number <= count else (None, f"There is no number {item.number}.")


def _missing_numbers(items: Sequence[Numbered], count: int) -> str:
    missing = sorted(set(range(1, count + 1)) - {item.number for item in items})
    return f"These numbers are missing: {', '.join(map(str, missing[:20]))}." if missing else ""


def _shuffled(names: Sequence[str], seed: int, repeat: int) -> list[str]:
    order = list(names)
    random.Random(seed_of(seed, "order", repeat)).shuffle(order)
    return order


def ordering_of(model: str, similarity: Mapping[str, Similarity], concepts: Collection[str]) -> Ordering:
    """The ordering of `concepts` by the language model `model`, from a similarity for each."""
    chosen = {name: assessed for name, assessed in similarity.items() if name in concepts}
    return Ordering(
        source="language model",
        model=model,
        similarity={name: round(assessed.value, 4) for name, assessed in chosen.items()},
        spread={name: round(assessed.spread, 4) for name, assessed in chosen.items()},
    )
