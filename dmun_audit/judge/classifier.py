"""Image classifiers of transformers as detectors, such as NSFW classifiers. The score is the probability of the named labels."""

from __future__ import annotations

import difflib
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
from dmun_audit.knowledge.words.texts import fold

BATCH_SIZE = 8
SHOWN_LABELS = 40  # in an error message
SCALE = ScoreScale(lowest=0.2)  # a probability among labels, as CLIP's score is


class ClassifierNetwork:
    """A network of `AutoModelForImageClassification`.

    `labels` are its labels by position. `independent` says that they do not exclude each other: each has a probability of
    its own (`problem_type` multi_label_classification, or a single label).
    """

    def __init__(self, reference: JudgeReference, device: str = "cpu") -> None:
        self._opened = open_pretrained(reference, "AutoModelForImageClassification", "AutoImageProcessor", device)
        self._device = device
        config = self._opened.model.config
        self.labels = [str(config.id2label[position]) for position in range(config.num_labels)]
        self.independent = config.problem_type == "multi_label_classification" or config.num_labels == 1
        self.digest = self._opened.digest

    def detector(self, reference: JudgeReference, target: Target) -> LabelDetector:
        """See `Network.detector`. The query is LABEL or LABEL+LABEL; without one, the label with a name of the target is used."""
        positions = self._positions(reference, target)
        names = [self.labels[position] for position in positions]
        return LabelDetector(reference.text, digest([self.digest, "labels", names]), self, positions)

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (n, k) of k labels for images (height, width, 3) uint8: a softmax, or sigmoids of independent labels."""

        def encode(batch: list[np.ndarray]) -> Any:
            inputs = self._opened.processor(images=pil_images(batch), return_tensors="pt").to(self._device)
            logits = self._opened.model(**inputs).logits.float()
            return logits.sigmoid() if self.independent else logits.softmax(dim=-1)

        return encode_in_batches(encode, images, BATCH_SIZE)

    def _positions(self, reference: JudgeReference, target: Target) -> list[int]:
        folded = [fold(label) for label in self.labels]
        if not reference.query:
            names = {fold(name) for name in (target.name, target.label, *target.aliases)}
            positions = [position for position, label in enumerate(folded) if label in names]
            if not positions:
                raise self._unknown(reference, target.name, "add #LABEL, or #LABEL+LABEL for several")
            return positions
        labels = [reference.query] if fold(reference.query) in folded else reference.query.split("+")
        for label in labels:
            if fold(label) not in folded:
                close = difflib.get_close_matches(fold(label), folded, n=1)
                suggestion = f"did you mean #{self.labels[folded.index(close[0])]}?" if close else "name one of them after #"
                raise self._unknown(reference, label, suggestion)
        return sorted({folded.index(fold(label)) for label in labels})

    def _unknown(self, reference: JudgeReference, label: str, remedy: str) -> LoadError:
        more = f", … ({len(self.labels)} in all)" if len(self.labels) > SHOWN_LABELS else ""
        return LoadError(
            f"judge {reference.text!r} knows no label {label.strip()!r}",
            f"it has {', '.join(self.labels[:SHOWN_LABELS])}{more}",
            remedy,
        )


@dataclass(frozen=True)
class LabelDetector:
    """The labels of a classifier at `positions`. The score is the sum of their probabilities, or the largest if independent."""

    reference: str
    digest: str
    network: ClassifierNetwork
    positions: Sequence[int]
    scale: ScoreScale = SCALE

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Detector.target_scores`."""
        probabilities = self.network.probabilities(images)[:, list(self.positions)]
        return probabilities.max(axis=1) if self.network.independent else probabilities.sum(axis=1).clip(0, 1)


KIND = DetectorKind(
    "classifier",
    "classifier:MODEL#label+label",
    check=check_source,
    open=lambda reference, models: ClassifierNetwork(reference, models.device),
)
