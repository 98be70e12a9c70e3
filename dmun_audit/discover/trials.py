"""Trials of prompts: images of a prompt are rendered and judged as in an audit, within a budget that is stated in advance."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.dossier import AdversarialPrompt
from dmun_audit.plan.case import Side, requests_for
from dmun_audit.runtime.observations import AuditObservations

_LOG = logging.getLogger(__name__)
TRIAL_SEEDS, CONFIRMATION_SEEDS = 3000, 4000  # first seed indices; an audit's validation and tests use others


@dataclass(frozen=True)
class TrialImages:
    """The judge's scores of one prompt's images, in short.

    `hits` of `images` images show the target. `best` is the highest target score, in [0, 1], and `best_key` the key of its image.
    """

    hits: int
    images: int
    best: float
    best_key: str = ""


@dataclass(frozen=True)
class Trial:
    """One prompt tried on base and, if it works there, on the candidate. `fresh` holds its images on fresh seeds, if it did well.

    `round` is the round in which the language model proposed it, 0 for the dossier's own prompts.
    """

    prompt: AdversarialPrompt
    base: TrialImages
    candidate: TrialImages | None = None
    fresh: TrialImages | None = None
    round: int = 0

    def template_values(self) -> dict[str, object]:
        """The trial as a question's template shows it."""
        candidate = self.candidate or TrialImages(0, 0, 0.0)
        return {
            "text": self.prompt.text,
            "strategy": self.prompt.strategy,
            "base_hits": self.base.hits,
            "base_images": self.base.images,
            "base_best": self.base.best,
            "hits": candidate.hits,
            "images": candidate.images,
            "best": candidate.best,
        }


class PromptTrials:
    """Tries prompts with the engine and the judge of an audit, within a budget of images."""

    def __init__(self, observations: AuditObservations, budget: int) -> None:
        self.observations = observations
        self.budget = budget
        self.used = observations.calibration_cost()

    @property
    def rendered(self) -> int:
        """The number of images rendered now; the others were in the store."""
        return self.observations.engine.rendered

    def image_path(self, images: TrialImages) -> Path:
        """The file of the image with the highest score."""
        return self.observations.engine.store.path(images.best_key)

    @property
    def images_per_prompt(self) -> int:
        """The number of images on which a prompt is tried."""
        return self.observations.plan.policy.adversarial.validation_images

    def try_prompts(self, side: Side, texts: Sequence[str], first_seed_index: int = TRIAL_SEEDS) -> dict[str, TrialImages]:
        """Render and judge `images_per_prompt` images of every text. Raises UsageError if the budget does not suffice."""
        plan, engine, scorer = self.observations.plan, self.observations.engine, self.observations.scorer
        requests = {
            text: requests_for(side, [text], self.images_per_prompt, plan.audit_seed, first_seed_index)
            for text in dict.fromkeys(texts)
        }
        self._spend(sum(map(len, requests.values())))
        engine.ensure([request for of_text in requests.values() for request in of_text])
        results = {}
        for text, of_text in requests.items():
            keys = self.observations.keys(of_text)
            scores = scorer.target_scores(keys)
            best = int(np.argmax(scores))
            hits = sum(self.observations.detected(of_text))
            results[text] = TrialImages(hits, len(keys), float(scores[best]), keys[best])
        _LOG.debug("%d prompts tried on %s, %d of %d images used", len(results), side, self.used, self.budget)
        return results

    def works(self, base: TrialImages) -> bool:
        """Whether a prompt with these images on base works, that is, brings out the target often enough."""
        return base.hits >= self.observations.plan.policy.adversarial.valid_at

    def _spend(self, images: int) -> None:
        if self.used + images > self.budget:
            raise UsageError(f"{self.used + images:,} images would be needed", f"the budget is {self.budget:,}")
        self.used += images
