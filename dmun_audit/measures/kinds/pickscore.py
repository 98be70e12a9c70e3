"""PickScore: how well an image fits its prompt, by a CLIP model that was trained on people's choices between two images.

Source: Kirstain et al., Pick-a-Pic: an open dataset of user preferences for text-to-image generation, NeurIPS 2023, §4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmun_audit._util.hashing import digest
from dmun_audit.judge.batches import encode_in_batches
from dmun_audit.judge.detector_kind import SharedModels
from dmun_audit.judge.pretrained import Pretrained, check_source, open_pretrained, pil_images
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.measures.metric_kind import MetricKind, paired_values

BATCH_SIZE = 8
VERSION = 2  # of what this file computes


@dataclass(frozen=True)
class PickScore:
    """The cosine of image and prompt, times the model's logit scale."""

    reference: str
    opened: Pretrained
    device: str
    name: str = "pickscore"

    @property
    def digest(self) -> str:
        """See `ReferencedMetric.digest`."""
        return digest([self.name, VERSION, self.opened.digest])

    def measure(self, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> Mapping[str, float]:
        """See `Metric.measure` and `paired_values`."""
        return paired_values(self.name, self.scores(base, prompts), self.scores(candidate, prompts), prompts)

    def scores(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> np.ndarray:
        """The score of each of n ≥ 1 images (height, width, 3) uint8 with its prompt, (n,). A prompt is cut to CLIP's 77 tokens."""

        def encode(batch: list[tuple[np.ndarray, str]]) -> Any:
            images, texts = zip(*batch, strict=True)
            inputs = self.opened.processor(
                images=pil_images(images),
                text=list(texts),
                return_tensors="pt",
                padding="max_length",
                truncation=True,
                max_length=self._length,
            )
            output = self.opened.model(**inputs.to(self.device))
            cosines = (_unit(output.image_embeds) * _unit(output.text_embeds)).sum(dim=-1)
            return self.opened.model.logit_scale.exp() * cosines

        return encode_in_batches(encode, list(zip(images, prompts, strict=True)), BATCH_SIZE)

    @property
    def _length(self) -> int:
        """The number of tokens that the text encoder reads."""
        return int(self.opened.model.config.text_config.max_position_embeddings)


def _unit(vectors: Any) -> Any:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _open(reference: JudgeReference, models: SharedModels) -> PickScore:
    opened = open_pretrained(reference, "CLIPModel", "CLIPProcessor", models.device)
    return PickScore(reference.text, opened, models.device)


KIND = MetricKind(
    "pickscore",
    "pickscore:MODEL",
    check=check_source,
    open=_open,
    note="PickScore and HPS say how well people would like an image for its prompt: higher is better. They compare images of one "
    "prompt; their level differs between prompts.",
    titles={"pickscore": "PickScore"},
)
