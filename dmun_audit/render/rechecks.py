"""Renders a sample of the stored images again, and compares: a stored image must be what its model draws now."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np

from dmun_audit._util.errors import StoreError
from dmun_audit._util.hashing import digest
from dmun_audit.plan.case import ImageRequest
from dmun_audit.policy import Sampling
from dmun_audit.store.images import ImageStore

ALIKE = 2.0  # grey levels of 255: the largest mean difference of two renderings that may differ in their last bits

COARSEST_CLOCK = 2.0  # seconds by which the time of a file may lag behind

Repeats = Literal["exactly", "alike", "not at all"]
"""How a second rendering repeats the first: bit for bit, up to rounding, or in no way that anybody promised."""

logger = logging.getLogger(__name__)


class Rechecks:
    """Chooses stored batches to render again, and compares.

    The images that earlier audits left are cut into batches and come one batch at a time. Of each model, the first ones are chosen,
    until they hold `sampling.recheck_images` images. The k-th batch after them is chosen by chance, less often the larger k is. So nobody
    knows which images will be checked, and a long audit checks a few more. `checked` counts the images that were compared.
    """

    def __init__(self, store: ImageStore, sampling: Sampling) -> None:
        self.checked = 0
        self._store = store
        self._batches = math.ceil(sampling.recheck_images / sampling.batch_size)  # of each side; 0 for no rechecks at all
        self._met: dict[str, int] = {}  # side → stored batches so far
        self._looked_at: set[tuple[ImageRequest, ...]] = set()
        self._opened = time.time() - COARSEST_CLOCK
        self._chance = random.SystemRandom()

    @property
    def wanted(self) -> bool:
        """Whether the policy asks for rechecks."""
        return self._batches > 0

    def chooses(self, slots: Sequence[ImageRequest], keys: Sequence[str]) -> bool:
        """Whether to render these stored images of one side again: a batch that an earlier audit left, chosen by chance, once."""
        if not self.wanted or tuple(slots) in self._looked_at:
            return False
        self._looked_at.add(tuple(slots))
        if not any(self._store.written(key) < self._opened for key in keys):
            return False
        met = self._met[slots[0].side] = self._met.get(slots[0].side, 0) + 1
        return met <= self._batches or self._chance.random() < self._batches / met

    def compare(self, request: ImageRequest, key: str, image: np.ndarray, place: str, repeats: Repeats) -> None:
        """Compare the stored image of `key` with `image`, as it was rendered just now at that `place` (`place_of`).

        Raises StoreError where they differ: in any number if the model `repeats` its images exactly and the place is the same,
        otherwise by more than `ALIKE` on average.
        """
        stored = self._store.stored(key)
        if stored is None or repeats == "not at all":
            return
        self.checked += 1
        exactly = repeats == "exactly" and stored.facts.get("place") == place
        difference = _difference(stored.pixels, image)
        if difference == 0 or (not exactly and difference <= ALIKE):
            return
        side = request.side if request.side == "base" else "candidate"
        raise StoreError(
            f"{self._store.path(key)} is not what the {side} draws",
            f"the stored image of {request.prompt!r} with seed {request.seed} was rendered again, and the two differ by "
            f"{difference:.2g} of 255 on average: the images in the store are not this model's",
            f"audit with another --store, or delete {self._store.folder / 'images'}",
        )


def place_of(keys: Sequence[str], slot: int) -> str:
    """A text that is the same for the same slot of a batch of the same images: pixels may depend on both."""
    return f"{digest(list(keys))[:16]}-{slot}"


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in grey levels; infinite for other sizes."""
    if one.shape != other.shape:
        return math.inf
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())
