"""Opens judges of every kind: each network once in a process, with a sight for each target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.cached_detector import CachedDetector
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.clip_scorer import ClipScorer
from dmun_audit.judge.protocol import Network, StoredImageDetector
from dmun_audit.judge.reference import JudgeReference, parse_judge
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.store.embeddings import EmbeddingStore

Reader = Callable[[Sequence[str]], list[np.ndarray]]


@dataclass
class Judges:
    """Networks by what they are opened from, on one device. Every method raises LoadError where a judge cannot be loaded."""

    device: str
    _clips: dict[str, ClipJudge] = field(default_factory=dict)
    _networks: dict[tuple[str, str], Network] = field(default_factory=dict)

    def clip(self, reference: str) -> ClipJudge:
        """The CLIP model of that reference."""
        if reference not in self._clips:
            self._clips[reference] = ClipJudge(reference, self.device)
        return self._clips[reference]

    def scorer(
        self, judge: str, dossier: Dossier, store: Path, read: Reader, detector: str | None = None
    ) -> ClipScorer:  # fmt: skip
        """The CLIP judge at work on one dossier; another judge detects in its place where a `detector` is named."""
        clip = self.clip(judge)
        other = self.sight(detector, dossier, store, read) if detector is not None else None
        return ClipScorer(clip, dossier, EmbeddingStore(store, clip.digest), read, other)

    def sight(self, text: str, dossier: Dossier, store: Path, read: Reader) -> StoredImageDetector:
        """The judge of any kind that `text` names, looking for the dossier's target."""
        reference = parse_judge(text)
        if reference.kind == "clip":
            return self.scorer(reference.place, dossier, store, read)
        detector = self.network(reference).detector(reference, dossier.target)
        return CachedDetector(detector, EmbeddingStore(store, detector.digest), read)

    def second(self, text: str, scorer: ClipScorer, store: Path, read: Reader) -> StoredImageDetector:
        """The second judge. It must not be the first one over again, which would agree with itself."""
        found = self.sight(text, scorer.dossier, store, read)
        if found.digest == scorer.digest:
            raise LoadError(
                f"the second judge {text!r} is the first one",
                f"{scorer.reference!r} would agree with itself",
                "name another judge",
            )
        return found

    def network(self, reference: JudgeReference) -> Network:
        """The opened network of any kind but CLIP."""
        key = (reference.kind, reference.place)
        if key not in self._networks:
            self._networks[key] = self._open(reference)
        return self._networks[key]

    def _open(self, reference: JudgeReference) -> Network:
        if reference.kind == "classifier":
            from dmun_audit.judge.classifier import Classifier

            return Classifier(reference, self.device)
        if reference.kind == "objects":
            from dmun_audit.judge.objects import ObjectFinder

            return ObjectFinder(reference, self.device)
        if reference.kind == "vlm":
            from dmun_audit.judge.vlm_detector import VlmDetector

            return VlmDetector(reference)
        from dmun_audit.judge.reference_images import ReferenceImages, open_embedder

        if reference.kind == "references":
            return ReferenceImages(open_embedder(reference, self.clip, self.device))
        from dmun_audit.judge.faces import FaceNetwork

        return ReferenceImages(FaceNetwork(reference))
