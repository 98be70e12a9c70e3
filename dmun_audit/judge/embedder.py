"""Where the embeddings of a CLIP judge are computed, if not in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dmun_audit.judge.views import View

if TYPE_CHECKING:
    from dmun_audit.judge.clip import ClipJudge


class Embedder(Protocol):
    """Other processes that embed stored images."""

    @property
    def judging_environment(self) -> Mapping[str, str]:
        """`store.environment.judging_environment` of those processes: a part of every embedding's key."""
        ...

    @property
    def images_at_once(self) -> int:
        """How many images all of them compute at the same time; a multiple of `batches.BATCH_SIZE`."""
        ...

    def embed(self, judge: ClipJudge, keys: Sequence[str], views: Sequence[View]) -> np.ndarray:
        """Unit vectors (n, d) float32 of the n ≥ 1 images of `keys`, each changed by the `views` in turn.

        Raises LoadError where a process cannot open the judge, or opens another one.
        """
        ...
