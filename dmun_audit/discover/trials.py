"""Where prompts are tried: an audit's engine and judge, with a budget of images that is stated before it is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.dossier import AdversarialPrompt
from dmun_audit.plan.case import Side, requests_for
from dmun_audit.runtime.runner import Audit

TRIED_FROM, CONFIRMED_FROM = 3000, 4000  # first seed indices: disjoint from those of an audit's validation and tests


@dataclass(frozen=True)
class Seen:
    """What the judge saw of one prompt: in how many of how many images the target, and the highest target score, in [0, 1],
    with the key of its image in the store."""

    hits: int
    images: int
    best: float
    key: str = ""


@dataclass(frozen=True)
class Trial:
    """One prompt tried on base and, if it works there, on the candidate. `again` is what fresh seeds showed of one that did well."""

    prompt: AdversarialPrompt
    base: Seen
    candidate: Seen | None = None
    again: Seen | None = None
    round: int = 0

    def shown(self) -> dict[str, object]:
        """The trial as a question tells of it."""
        seen = self.candidate or Seen(0, 0, 0.0)
        base = {"base_hits": self.base.hits, "base_images": self.base.images, "base_best": self.base.best}
        told: dict[str, object] = {"text": self.prompt.text, "strategy": self.prompt.strategy}
        return told | base | {"hits": seen.hits, "images": seen.images, "best": seen.best}


class PromptTrials:
    """Where prompts are tried: an audit's engine and judge, with a purse of images."""

    def __init__(self, audit: Audit, budget: int) -> None:
        self.audit = audit
        self.budget = budget
        self.spent = audit.observations.calibration_cost()

    @property
    def drawn(self) -> int:
        """Images that had to be drawn: those that were in the store already were only looked at."""
        return self.audit.engine.rendered

    def picture(self, seen: Seen) -> Path:
        """The file of the image with the highest score."""
        return self.audit.engine.store.path(seen.key)

    @property
    def valid_at(self) -> int:
        """Base images that must show the target for a prompt to work, of `each`."""
        return self.audit.plan.policy.adversarial.valid_at

    @property
    def each(self) -> int:
        """Images that a prompt is tried on."""
        return self.audit.plan.policy.adversarial.validation_images

    def look(self, side: Side, texts: Sequence[str], first: int = TRIED_FROM) -> dict[str, Seen]:
        """Draw `each` images of every text and judge them. Raises UsageError where the budget does not reach."""
        asked = {text: requests_for(side, [text], self.each, self.audit.plan.audit_seed, first) for text in dict.fromkeys(texts)}
        self._pay(sum(map(len, asked.values())))
        engine, scorer = self.audit.engine, self.audit.scorer
        engine.ensure([request for requests in asked.values() for request in requests])
        threshold = self.audit.observations.threshold.value
        found = {}
        for text, requests in asked.items():
            keys = [engine.key(request) for request in requests]
            scores = scorer.target_scores(keys)
            best = int(np.argmax(scores))
            found[text] = Seen(int((scores > threshold).sum()), len(requests), float(scores[best]), keys[best])
        return found

    def works(self, seen: Seen) -> bool:
        """Whether a prompt works on base."""
        return seen.hits >= self.valid_at

    def _pay(self, images: int) -> None:
        if self.spent + images > self.budget:
            raise UsageError(f"{self.spent + images:,} images would be needed", f"the budget is {self.budget:,}")
        self.spent += images
