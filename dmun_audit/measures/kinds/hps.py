"""HPS v2: how well an image fits its prompt, by a CLIP model that was trained on people's rankings of images.

Source: Wu et al., Human Preference Score v2: a solid benchmark for evaluating human preferences of text-to-image synthesis, 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit._util.paths import expanded
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.reference import JudgeReference, is_clip
from dmun_audit.measures.metric_kind import MetricKind, check_clip_source, check_weights_file, open_clip_source, paired_values

ARCHITECTURE = "ViT-H-14"  # of the published weights, in open_clip's words
VERSION = 2  # of what this file computes


@dataclass(frozen=True)
class HumanPreferenceScore:
    """The cosine of image and prompt. Papers print it times 100."""

    reference: str
    clip: ClipJudge
    name: str = "hps"

    @property
    def digest(self) -> str:
        """See `ReferencedMetric.digest`."""
        return digest([self.name, VERSION, self.clip.digest])

    def measure(self, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> Mapping[str, float]:
        """See `Metric.measure` and `paired_values`."""
        texts = self.clip.embed_texts(prompts).astype(np.float64)
        before, after = ((self.clip.embed_images(side) * texts).sum(axis=1) for side in (base, candidate))
        return paired_values(self.name, before, after, prompts)


def _clip_reference(reference: JudgeReference) -> str:
    """The source as a CLIP reference."""
    if is_clip(reference.source):
        return reference.source
    return f"open_clip:{reference.query or ARCHITECTURE}/{expanded(reference.source).absolute()}"


def _check(reference: JudgeReference) -> None:
    if is_clip(reference.source):
        check_clip_source(reference, reference.source)
        if reference.query:
            raise LoadError(f"metric {reference.text!r} names an architecture", "its CLIP reference says it", "leave #… out")
    else:
        check_weights_file(reference, reference.source, "the weights of HPS v2, such as HPS_v2.1_compressed.pt")


KIND = MetricKind(
    "hps",
    "hps:FILE#ARCH",
    check=_check,
    open=lambda reference, models: HumanPreferenceScore(
        reference.text, open_clip_source(reference, _clip_reference(reference), models)
    ),
    note="PickScore and HPS say how well people would like an image for its prompt: higher is better. They compare images of one "
    "prompt; their level differs between prompts.",
    titles={"hps": "HPS"},
)
