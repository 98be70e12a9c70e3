"""Zero-shot object detectors of transformers, for logos and objects. An image's score is the score of its best box for a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.batches import encode_in_batches
from dmun_audit.judge.detector_kind import DetectorKind
from dmun_audit.judge.pretrained import check_source, open_pretrained, pil_images
from dmun_audit.judge.protocol import ScoreScale
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.knowledge.dossier import Target

BATCH_SIZE = 1  # these networks resize images to about 1000 pixels
SCALE = ScoreScale(lowest=0.1)  # each box has a sigmoid of its own, and correct boxes often score below .2
FAMILIES = {"owlvit", "owlv2", "grounding-dino", "mm-grounding-dino"}  # their logits are (images, boxes, texts or tokens)


class ObjectNetwork:
    """A network of `AutoModelForZeroShotObjectDetection`.

    Sources: OWL-ViT (Minderer et al. 2022), OWLv2 (Minderer et al. 2023), Grounding DINO (Liu et al. 2023).
    """

    def __init__(self, reference: JudgeReference, device: str = "cpu") -> None:
        self._opened = open_pretrained(reference, "AutoModelForZeroShotObjectDetection", "AutoProcessor", device)
        self._device = device
        self.digest = self._opened.digest
        family = self._opened.model.config.model_type
        if family not in FAMILIES:
            raise LoadError(
                f"judge {reference.text!r} is a detector of the family {family!r}",
                "the scores of that family have another form",
                f"use one of {', '.join(sorted(FAMILIES))}",
            )

    def detector(self, reference: JudgeReference, target: Target) -> ObjectDetector:
        """See `Network.detector`. The query is a text; without one, the target's label is the text."""
        text = reference.query or target.label
        self._refuse_overlong(reference, text)
        return ObjectDetector(reference.text, digest([self.digest, "text", text]), self, text)

    def best_box_scores(self, images: Sequence[np.ndarray], text: str) -> np.ndarray:
        """The score in [0, 1] of the best box for `text` in each image (height, width, 3) uint8; shape (n,)."""

        def encode(batch: list[np.ndarray]) -> Any:
            inputs = self._opened.processor(images=pil_images(batch), text=[[text]] * len(batch), return_tensors="pt")
            logits = self._opened.model(**inputs.to(self._device)).logits
            return logits.float().sigmoid().amax(dim=(1, 2))

        return encode_in_batches(encode, images, BATCH_SIZE)

    def _refuse_overlong(self, reference: JudgeReference, text: str) -> None:
        longest = getattr(self._opened.model.config.text_config, "max_position_embeddings", None)
        length = len(self._opened.processor.tokenizer(text).input_ids)
        if longest and length > longest:
            raise LoadError(
                f"judge {reference.text!r} reads {longest} tokens", f"{text!r} has {length}", "give a shorter text after #"
            )


@dataclass(frozen=True)
class ObjectDetector:
    """An object detection network with the text that it looks for."""

    reference: str
    digest: str
    network: ObjectNetwork
    text: str
    scale: ScoreScale = SCALE

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Detector.target_scores`."""
        return self.network.best_box_scores(images, self.text)


KIND = DetectorKind(
    "objects",
    "objects:MODEL#text",
    check=check_source,
    open=lambda reference, models: ObjectNetwork(reference, models.device),
)
