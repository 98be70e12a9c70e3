"""Several assessments of similarity combined into one ordering with its spread. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Similarity:
    """The mean of all assessments of one concept, in [0, 1], and their standard deviation (0 for a single one)."""

    value: float
    spread: float


def aggregate(ratings: Sequence[Mapping[str, float]], rankings: Sequence[Sequence[str]]) -> dict[str, Similarity]:
    """One similarity a concept, from ratings in [0, 1] and from rankings that name the most similar concept first.

    A ranking has no scale. It takes the scale of the ratings: its k-th concept gets the k-th largest mean rating among the
    concepts in the ranking (quantile matching). Without ratings, the scale falls evenly from 1. All assessments then count
    alike: the value is their mean. Concepts come most similar first, ties by name.
    """
    rated = {name for rating in ratings for name in rating}
    assessments: dict[str, list[float]] = {name: [rating[name] for rating in ratings if name in rating] for name in rated}
    means = {name: float(np.mean(values)) for name, values in assessments.items()}
    for ranking in rankings:
        listed = [name for name in ranking if name in means] if means else list(ranking)
        scale = sorted((means[name] for name in listed), reverse=True) if means else np.linspace(1, 0, len(listed) + 1)[:-1]
        for name, value in zip(listed, scale, strict=True):
            assessments.setdefault(name, []).append(float(value))
    similarity = {name: Similarity(float(np.mean(values)), float(np.std(values))) for name, values in assessments.items()}
    return dict(sorted(similarity.items(), key=lambda entry: (-entry[1].value, entry[0])))
