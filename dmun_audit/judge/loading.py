"""Loads judges of every kind. Each network is opened once in a process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.cached_detector import CachedDetector
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.clip_scorer import ClipScorer
from dmun_audit.judge.embedder import Embedder
from dmun_audit.judge.kinds import detector_kinds, parse_judge
from dmun_audit.judge.prompt_judge import PromptJudge, check_prompt_judge
from dmun_audit.judge.protocol import Network, StoredImageDetector
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.store.embeddings import EmbeddingStore
from dmun_audit.store.environment import judging_environment

Reader = Callable[[Sequence[str]], list[np.ndarray]]

_LOG = logging.getLogger(__name__)


@dataclass
class JudgeLoader:
    """Loads judges on one torch device, and keeps their networks. `elsewhere` embeds images for CLIP judges in its place.

    In its methods, `store` is the store's folder, and `read` gives the pixels (height, width, 3) uint8 of the images of some
    keys. Every method raises LoadError where a judge cannot be loaded.
    """

    device: str
    elsewhere: Embedder | None = None
    _clip_models: dict[str, ClipJudge] = field(default_factory=dict)
    _networks: dict[tuple[str, str], Network] = field(default_factory=dict)  # by kind and source

    def clip_model(self, reference: str) -> ClipJudge:
        """The CLIP model of a reference."""
        if reference not in self._clip_models:
            start = perf_counter()
            model = self._clip_models[reference] = ClipJudge(reference, self.device)
            seconds = perf_counter() - start
            _LOG.debug("opened CLIP %r on %s in %.2f s, digest %s", reference, self.device, seconds, model.digest[:16])
        return self._clip_models[reference]

    def clip_scorer(
        self, judge: str, dossier: Dossier, store: Path, read: Reader, detector: str | None = None
    ) -> ClipScorer:  # fmt: skip
        """The CLIP model `judge` as the scorer of a dossier. If a `detector` is named, it detects the target in its place."""
        model = self.clip_model(judge)
        other = None if detector is None else self.stored_image_detector(detector, dossier, store, read)
        environment = self.elsewhere.judging_environment if self.elsewhere else judging_environment(self.device)
        return ClipScorer(model, dossier, EmbeddingStore(store, model.digest, environment), read, other, self.elsewhere)

    def stored_image_detector(self, text: str, dossier: Dossier, store: Path, read: Reader) -> StoredImageDetector:
        """The judge of any kind that `text` names, as a detector of the dossier's target."""
        reference = parse_judge(text)
        if reference.kind == "clip":
            return self.clip_scorer(reference.source, dossier, store, read)
        detector = self.network(reference).detector(reference, dossier.target)
        _LOG.debug("detector %r of %r has the digest %s", text, dossier.target.name, detector.digest[:16])
        scores = EmbeddingStore(store, detector.digest, judging_environment(self.device))
        return CachedDetector(detector, scores, read)

    def second_judge(self, text: str, scorer: ClipScorer, store: Path, read: Reader) -> StoredImageDetector:
        """The second judge beside `scorer`. Raises LoadError where both are the same judge."""
        second = self.stored_image_detector(text, scorer.dossier, store, read)
        if second.digest == scorer.digest:
            raise LoadError(
                f"the second judge {text!r} is the first one",
                f"{scorer.reference!r} would agree with itself",
                "name another judge",
            )
        return second

    def prompt_judge(self, text: str, prompts: Sequence[str], store: Path, read: Reader) -> PromptJudge:
        """The judge that `text` names, for composition prompts."""
        reference = parse_judge(text)
        check_prompt_judge(reference)
        return PromptJudge(reference, self.network(reference), prompts, store, read, judging_environment(self.device))

    def network(self, reference: JudgeReference) -> Network:
        """The opened network of a reference of any kind but CLIP."""
        key = (reference.kind, reference.source)
        if key not in self._networks:
            start = perf_counter()
            self._networks[key] = detector_kinds()[reference.kind].open(reference, self)
            seconds = perf_counter() - start
            _LOG.debug("opened %s %r on %s in %.2f s", reference.kind, reference.source, self.device, seconds)
        return self._networks[key]
