"""The CLIP judge of one dossier. It gives target scores, labels and CLIP scores, and keeps embeddings in the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from time import perf_counter

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.batches import BATCH_SIZE
from dmun_audit.judge.calibration import calibrated_threshold
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.detection import LOWEST_THRESHOLD, THRESHOLD_CAP, Threshold, clip_scores, label_shares
from dmun_audit.judge.embedder import Embedder
from dmun_audit.judge.protocol import ScoreScale, StoredImageDetector
from dmun_audit.judge.views import View, view_all
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.store.embeddings import EmbeddingStore

SCALE = ScoreScale(LOWEST_THRESHOLD)

_LOG = logging.getLogger(__name__)


class ClipScorer:
    """A `StoredImageDetector` that embeds each image once, and keeps the embedding in the store.

    If there is a `detector`, it gives the target scores; the CLIP model still classifies nearby concepts and scores prompts.
    `read` gives the pixels (height, width, 3) uint8 of the images of some keys. If there is an `elsewhere`, it embeds in place of
    this process, and `store` holds the embeddings of its environment.
    """

    def __init__(
        self,
        judge: ClipJudge,
        dossier: Dossier,
        store: EmbeddingStore,
        read: Callable[[Sequence[str]], list[np.ndarray]],
        detector: StoredImageDetector | None = None,
        elsewhere: Embedder | None = None,
    ) -> None:
        self.judge = judge
        self.dossier = dossier
        self.detector = detector
        self._store = store
        self._read = read
        self._elsewhere = elsewhere
        self._embeddings: dict[str, np.ndarray] = {}
        self._expected: dict[str, None] = {}  # keys, in order
        self._views: tuple[View, ...] = ()
        self._through: dict[str, ClipScorer] = {}
        target = dossier.target
        rivals = [c.label for c in dossier.concepts if c.kind == target.kind and c.role != "erase" and not c.may_contain_target]
        self._labels = list(dict.fromkeys([target.label, *rivals, *dossier.anchors]))

    @property
    def reference(self) -> str:
        """The reference of the judge that detects the target."""
        return self.detector.reference if self.detector else self.judge.reference

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of everything that decides a target score."""
        if self.detector:
            return self.detector.digest
        own = digest([self.judge.digest, "labels", self._labels])
        return digest([own, "view", " ".join(view.name for view in self._views)]) if self._views else own

    def embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """Unit vectors (n, d) float32 of the n ≥ 1 images of `keys`. Raises LoadError where one is not finite."""
        new = list(dict.fromkeys(key for key in keys if key not in self._embeddings))
        if new:
            self._forget(new)
            at_once = self._elsewhere.images_at_once if self._elsewhere else BATCH_SIZE
            others = list(islice(self._expected, -len(new) % at_once))
            self._forget(others)
            self._embeddings |= self._store.complete([*new, *others], self._embed, at_once)
        return np.stack([self._embeddings[key] for key in keys])

    def expect(self, keys: Sequence[str]) -> None:
        """Tell it of images that are stored now and will be asked for later.

        The model computes whole batches. Expected images fill the rest of a batch, which would be computed for nothing otherwise.
        On a cluster, they fill a batch for each process.
        """
        self._expected |= dict.fromkeys(key for key in keys if key not in self._embeddings)
        for seen in self._through.values():
            seen.expect(keys)

    def _forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._expected.pop(key, None)

    def _embed(self, keys: list[str]) -> np.ndarray:
        start = perf_counter()
        if self._elsewhere:
            vectors = self._elsewhere.embed(self.judge, keys, self._views)
        else:
            vectors = self.judge.embed_images(view_all(self._views, self._read(keys)))
        if not np.isfinite(vectors).all():
            raise LoadError(
                f"judge {self.judge.reference!r} gives embeddings that are not finite",
                "a score of them would count as “not detected”",
                "use another judge, or repair its weights",
            )
        _LOG.debug("embedded %d images with %r in %.2f s", len(keys), self.judge.reference, perf_counter() - start)
        return vectors

    def target_scores(self, keys: Sequence[str]) -> np.ndarray:
        """Scores (n,) in [0, 1]: the probability of the target's label among the labels of target, rivals and anchors."""
        if self.detector:
            return self.detector.target_scores(keys)
        labels = self.judge.embed_texts(self._labels)
        return label_shares(self.embeddings(keys), labels, self.judge.scale)[:, 0]

    def threshold(self, keys: Sequence[str], cap: float = THRESHOLD_CAP) -> Threshold:
        """See `StoredImageDetector.threshold`."""
        return self.detector.threshold(keys, cap) if self.detector else calibrated_threshold(self, SCALE, keys, cap)

    def through(self, view: View) -> ClipScorer:
        """See `StoredImageDetector.through`."""
        if view.name not in self._through:
            store = self._store.of_judge(digest([self._store.judge, "view", view.name]))
            detector = self.detector.through(view) if self.detector else None
            seen = ClipScorer(self.judge, self.dossier, store, self._read, detector, self._elsewhere)
            seen._views = (*self._views, view)
            seen.expect(list(self._expected))
            self._through[view.name] = seen
        return self._through[view.name]

    def classify(self, keys: Sequence[str], concept: NearbyConcept) -> list[str]:
        """The best label of each of n images, among the label of `concept` and its rival labels."""
        labels = [concept.label, *self.against(concept)]
        shares = label_shares(self.embeddings(keys), self.judge.embed_texts(labels), self.judge.scale)
        return [labels[best] for best in shares.argmax(axis=1)]

    def against(self, concept: NearbyConcept) -> list[str]:
        """The labels with which CLIP accuracy compares the label of `concept`."""
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
        """Cosine similarity of each image with its text, shape (n,), in [-1, 1]."""
        return clip_scores(self.embeddings(keys), self.judge.embed_texts(texts))
