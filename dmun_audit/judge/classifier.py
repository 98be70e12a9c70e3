"""Image classifiers of transformers as detectors, for unsafe content above all: the share that the named labels get."""

from __future__ import annotations

import difflib
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
from dmun_audit.knowledge.texts import fold

SLOTS = 8
SCALE = Scale(lowest=0.2)  # a share among labels, as CLIP's is


class Classifier:
    """A network of `AutoModelForImageClassification`, such as the NSFW classifiers."""

    def __init__(self, reference: JudgeReference, device: str = "cpu") -> None:
        self._opened = open_pretrained(reference, "AutoModelForImageClassification", "AutoImageProcessor", device)
        self._device = device
        config = self._opened.model.config
        self.labels = [str(config.id2label[place]) for place in range(config.num_labels)]
        self.independent = config.problem_type == "multi_label_classification" or config.num_labels == 1
        self.digest = self._opened.digest

    def detector(self, reference: JudgeReference, target: Target) -> LabelDetector:
        """See `Network.detector`: where the reference names no label, the label that is called as the target is."""
        places = self._places(reference, target)
        names = [self.labels[place] for place in places]
        return LabelDetector(reference.text, digest([self.digest, "labels", names]), self, places)

    def shares(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Softmax over the labels (n, k) of images (height, width, 3) uint8; the sigmoid of each where labels do not exclude
        one another (`problem_type` multi_label_classification, or a single label)."""

        def encode(chunk: list[np.ndarray]) -> Any:
            inputs = self._opened.tools(images=pil_images(chunk), return_tensors="pt").to(self._device)
            logits = self._opened.model(**inputs).logits.float()
            return logits.sigmoid() if self.independent else logits.softmax(dim=-1)

        return in_slots(encode, images, SLOTS)

    def _places(self, reference: JudgeReference, target: Target) -> list[int]:
        folded = [fold(label) for label in self.labels]
        if not reference.asked:
            known = {fold(name) for name in (target.name, target.label, *target.aliases)}
            found = [place for place, label in enumerate(folded) if label in known]
            if not found:
                raise self._unknown(reference, target.name, "add #LABEL, or #LABEL+LABEL for several")
            return found
        asked = [reference.asked] if fold(reference.asked) in folded else reference.asked.split("+")
        for name in asked:
            if fold(name) not in folded:
                close = difflib.get_close_matches(fold(name), folded, n=1)
                meant = self.labels[folded.index(close[0])] if close else ""
                raise self._unknown(reference, name, f"did you mean #{meant}?" if meant else "name one of them behind #")
        return sorted({folded.index(fold(name)) for name in asked})

    def _unknown(self, reference: JudgeReference, name: str, remedy: str) -> LoadError:
        shown = ", ".join(self.labels[:40]) + (f", … ({len(self.labels)} in all)" if len(self.labels) > 40 else "")
        return LoadError(f"judge {reference.text!r} knows no label {name.strip()!r}", f"it has {shown}", remedy)


@dataclass(frozen=True)
class LabelDetector:
    """The named labels of a classifier: the sum of their shares, or the largest where labels do not exclude one another."""

    reference: str
    digest: str
    network: Classifier
    places: Sequence[int]
    scale: Scale = SCALE

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Detector.target_scores`."""
        named = self.network.shares(images)[:, list(self.places)]
        return named.max(axis=1) if self.network.independent else named.sum(axis=1).clip(0, 1)
