"""Several assessments of similarity made into one ordering with its spread. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Similarity:
    """The mean of all assessments of one concept, in [0, 1], and their standard deviation (0 where there is one)."""

    value: float
    spread: float


def aggregate(ratings: Sequence[Mapping[str, float]], rankings: Sequence[Sequence[str]]) -> dict[str, Similarity]:
    """One similarity a concept, out of ratings in [0, 1] and rankings that name the most similar concept first.

    A ranking has no scale of its own: it is given that of the ratings, its k-th concept the k-th largest mean rating of
    the concepts that it lists (quantile matching). Without ratings, the scale is even from 1 down. Then every assessment
    counts alike: the value is their mean. Concepts come most similar first, ties by name.
    """
    named = {name for rating in ratings for name in rating} | {name for ranking in rankings for name in ranking}
    means = {name: float(np.mean([rating[name] for rating in ratings if name in rating])) for name in _rated(ratings)}
    assessed: dict[str, list[float]] = {name: [rating[name] for rating in ratings if name in rating] for name in named}
    for ranking in rankings:
        listed = [name for name in ranking if name in means] if means else list(ranking)
        scale = sorted((means[name] for name in listed), reverse=True) if means else np.linspace(1, 0, len(listed) + 1)[:-1]
        for name, value in zip(listed, scale, strict=True):
            assessed[name].append(float(value))
    found = {name: Similarity(float(np.mean(values)), float(np.std(values))) for name, values in assessed.items() if values}
    return dict(sorted(found.items(), key=lambda entry: (-entry[1].value, entry[0])))


def _rated(ratings: Sequence[Mapping[str, float]]) -> set[str]:
    return {name for rating in ratings for name in rating}
