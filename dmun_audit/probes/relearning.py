"""Relearning: a small adapter (LoRA) is trained on the candidate with pictures of the target.

Any model learns the target from enough pictures. A candidate that still holds the target learns it sooner (MemoRa, arXiv 2510.03263). So
the candidate and a model that never knew the target get the same pictures, and what counts is the difference after each number of steps.
"""

from __future__ import annotations

from dmun_audit.probes.parts.tuned import IMAGES, Tuned
from dmun_audit.probes.probe import Effort


class Relearning(Tuned):
    """See the module."""

    name = "relearning"
    order = 56
    title = "Training on a few pictures"
    explanation = (
        "Somebody trains a small adapter on the candidate with a few pictures of the target. Any model learns the target from enough "
        "pictures. A model that still holds the target learns it in fewer steps than one that never knew it."
    )
    source = "MemoRa, arXiv 2510.03263"
    teaches = True

    def examples(self, effort: Effort) -> int:
        """See `Probe.examples`."""
        return IMAGES


PROBE = Relearning()
