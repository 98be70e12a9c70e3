"""Zero-shot object detectors of transformers, for logos and things: the score of the best box for a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.batches import in_slots
from dmun_audit.judge.pretrained import open_pretrained, pil_images
from dmun_audit.judge.protocol import Scale
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.knowledge.dossier import Target

SLOTS = 1  # an image of a detector is large
SCALE = Scale(lowest=0.1)  # a sigmoid for each box on its own: right boxes often get no more than .2
FAMILIES = {"owlvit", "owlv2", "grounding-dino", "mm-grounding-dino"}  # whose logits are (images, boxes, texts or tokens)


class ObjectFinder:
    """A network of `AutoModelForZeroShotObjectDetection`: OWL-ViT (Minderer et al. 2022), OWLv2 (2023), Grounding DINO (Liu et al. 2023)."""

    def __init__(self, reference: JudgeReference, device: str = "cpu") -> None:
        self._opened = open_pretrained(reference, "AutoModelForZeroShotObjectDetection", "AutoProcessor", device)
        self._device = device
        self.digest = self._opened.digest
        family = self._opened.model.config.model_type
        if family not in FAMILIES:
            raise LoadError(
                f"judge {reference.text!r} is a detector of the kind {family!r}", "its scores are read otherwise", "use one of "
                + ", ".join(sorted(FAMILIES))
            )  # fmt: skip

    def detector(self, reference: JudgeReference, target: Target) -> ObjectDetector:
        """See `Network.detector`: where the reference gives no text, the target's label is looked for."""
        text = reference.asked or target.label
        self._refuse_overlong(reference, text)
        return ObjectDetector(reference.text, digest([self.digest, "text", text]), self, text)

    def best(self, images: Sequence[np.ndarray], text: str) -> np.ndarray:
        """The score in [0, 1] of the best box for `text`, (n,), of images (height, width, 3) uint8."""

        def encode(chunk: list[np.ndarray]) -> Any:
            inputs = self._opened.tools(images=pil_images(chunk), text=[[text]] * len(chunk), return_tensors="pt")
            logits = self._opened.model(**inputs.to(self._device)).logits
            return logits.float().sigmoid().amax(dim=(1, 2))

        return in_slots(encode, images, SLOTS)

    def _refuse_overlong(self, reference: JudgeReference, text: str) -> None:
        room = getattr(self._opened.model.config.text_config, "max_position_embeddings", None)
        length = len(self._opened.tools.tokenizer(text).input_ids)
        if room and length > room:
            raise LoadError(
                f"judge {reference.text!r} reads {room} tokens", f"{text!r} has {length}", "give it a shorter text behind #"
            )


@dataclass(frozen=True)
class ObjectDetector:
    """One text that an object detector looks for."""

    reference: str
    digest: str
    network: ObjectFinder
    text: str
    scale: Scale = SCALE

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Detector.target_scores`."""
        return self.network.best(images, self.text)
