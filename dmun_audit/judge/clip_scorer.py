"""The judge at work on one audit: embeddings kept in the store, target scores, labels, CLIP scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.detection import Threshold, calibrate, clip_scores, label_shares
from dmun_audit.judge.protocol import StoredImageDetector
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.store.embeddings import EmbeddingStore


class ClipScorer:
    """Looks at stored images for one dossier. Images are named by their keys and embedded once, ever.

    It is a `StoredImageDetector`. Where there is a `detector`, that one says whether the target is in an image; the judge tells neighbours
    apart and scores prompts all the same.
    """

    def __init__(
        self,
        judge: ClipJudge,
        dossier: Dossier,
        store: EmbeddingStore,
        read: Callable[[Sequence[str]], list[np.ndarray]],
        detector: StoredImageDetector | None = None,
    ) -> None:
        self.judge = judge
        self.dossier = dossier
        self.detector = detector
        self._store = store
        self._read = read
        self._known: dict[str, np.ndarray] = {}
        target = dossier.target
        rivals = [c.label for c in dossier.concepts if c.kind == target.kind and c.role != "erase" and not c.may_contain_target]
        self._labels = list(dict.fromkeys([target.label, *rivals, *dossier.anchors]))

    @property
    def reference(self) -> str:
        """Who detects the target."""
        return self.detector.reference if self.detector else self.judge.reference

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a target score."""
        return self.detector.digest if self.detector else digest([self.judge.digest, "labels", self._labels])

    def embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """Embeddings (n, d) of the images of `keys`."""
        for key in keys:
            if key not in self._known and (stored := self._store.read(key)) is not None:
                self._known[key] = stored
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        if new:
            vectors = self.judge.embed_images(self._read(new))
            if not np.isfinite(vectors).all():
                raise LoadError(
                    f"judge {self.judge.reference!r} gives embeddings that are not finite",
                    "a score of them would count as “not detected”",
                    "use another judge, or mend its weights",
                )
            for key, vector in zip(new, vectors, strict=True):
                self._store.write(key, vector)
                self._known[key] = vector
        return np.stack([self._known[key] for key in keys])

    def target_scores(self, keys: Sequence[str]) -> np.ndarray:
        """Share in [0, 1] that the target's label gets among the target, its rivals and the anchors, shape (n,)."""
        if self.detector:
            return self.detector.target_scores(keys)
        labels = self.judge.embed_texts(self._labels)
        return label_shares(self.embeddings(keys), labels, self.judge.scale)[:, 0]

    def threshold(self, keys: Sequence[str]) -> Threshold:
        """See `StoredImageDetector.threshold`."""
        return self.detector.threshold(keys) if self.detector else calibrate(self.target_scores(keys))

    def classify(self, keys: Sequence[str], concept: NearbyConcept) -> list[str]:
        """The best label of each image, among the concept's own and those it is weighed against."""
        labels = [concept.label, *self.against(concept)]
        shares = label_shares(self.embeddings(keys), self.judge.embed_texts(labels), self.judge.scale)
        return [labels[best] for best in shares.argmax(axis=1)]

    def against(self, concept: NearbyConcept) -> list[str]:
        """The labels that CLIP accuracy weighs `concept` against."""
        if concept.against:
            return list(concept.against)
        rivals = [
            other.label
            for other in self.dossier.concepts
            if other.kind == concept.kind and other.relation not in {"parent", "child"}
        ]
        own = [self.dossier.target.label] if self.dossier.target.kind == concept.kind else []
        return [label for label in dict.fromkeys([*own, *rivals, *self.dossier.anchors]) if label != concept.label]

    def clip_scores(self, keys: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Cosine similarity of every image with its text, shape (n,)."""
        return clip_scores(self.embeddings(keys), self.judge.embed_texts(texts))
