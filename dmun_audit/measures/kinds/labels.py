"""The shares of a classifier's labels among the images of base and candidate, and how far the shares are apart.

With a classifier of perceived gender, age or skin tone it measures a change of bias: unlearning may turn all doctors into men.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest, slug
from dmun_audit.judge.classifier import ClassifierNetwork
from dmun_audit.judge.detector_kind import SharedModels
from dmun_audit.judge.pretrained import check_source
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.measures.metric_kind import IMAGES, MetricKind, short_name

VERSION = 1  # of what this file computes
MOST_LISTED = 12  # labels; of a classifier with more, only those are listed that an image has
LONGEST = 24  # characters of a label in the name of a value, and of a classifier in the name of the metric


@dataclass(frozen=True)
class LabelShares:
    """The most probable label of each image. `labels` are their names in values, in the classifier's order."""

    name: str
    reference: str
    network: ClassifierNetwork
    labels: Sequence[str]

    @property
    def digest(self) -> str:
        """See `ReferencedMetric.digest`."""
        return digest([self.name, VERSION, self.network.digest, self.network.labels])

    def measure(self, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> Mapping[str, float]:
        """See `Metric.measure`.

        `NAME.base.LABEL` and `NAME.candidate.LABEL` are shares in [0, 1]. `NAME.total_variation` is half the sum of the absolute
        differences of the shares: the share of images that would have to get another label to make both sides equal.
        """
        before, after = self._shares(base), self._shares(candidate)
        listed = [
            position
            for position in range(len(self.labels))
            if len(self.labels) <= MOST_LISTED or before[position] or after[position]
        ]
        return {
            f"{self.name}.total_variation": float(np.abs(before - after).sum() / 2),
            **{f"{self.name}.base.{self.labels[position]}": float(before[position]) for position in listed},
            **{f"{self.name}.candidate.{self.labels[position]}": float(after[position]) for position in listed},
            f"{self.name}.{IMAGES}": float(len(base)),
        }

    def _shares(self, images: Sequence[np.ndarray]) -> np.ndarray:
        found = self.network.probabilities(images).argmax(axis=1)
        return np.bincount(found, minlength=len(self.labels)) / len(images)


def _open(reference: JudgeReference, models: SharedModels) -> LabelShares:
    network = ClassifierNetwork(reference, models.device)
    if network.independent:
        raise LoadError(
            f"metric {reference.text!r}: the labels of this classifier do not exclude each other",
            "an image may have several of them, so their shares do not sum to 1",
            "give a classifier with one label for each image",
        )
    short = [slug(label, LONGEST) for label in network.labels]
    names = [label if short.count(label) == 1 else f"{label}-{position}" for position, label in enumerate(short)]
    name = re.sub(r"[^a-z0-9]+", "_", slug(short_name(reference.source), LONGEST))
    return LabelShares(f"labels_{name}", reference.text, network, names)


KIND = MetricKind(
    "labels",
    "labels:MODEL",
    check=check_source,
    open=_open,
    note="Shares of labels are what the named classifier sees. The total variation distance is the share of images that would have to get "
    "another label to make base and candidate equal. It is rarely 0 on few images, even between equal models.",
)
