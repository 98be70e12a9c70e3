"""Where prompts are tried: an audit's engine and judge, with a budget of images that is stated before it is spent."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmun_audit.audit import Audit
from dmun_audit.errors import UsageError
from dmun_audit.knowledge.dossier import AdversarialPrompt
from dmun_audit.plan import Side, calibration_images, requests_for

TRIED_FROM, CONFIRMED_FROM = 3000, 4000  # first seed indices: disjoint from those of an audit's validation and tests


@dataclass(frozen=True)
class Seen:
    """What the judge saw of one prompt: in how many of how many images the target, and the highest target score, in [0, 1]."""

    hits: int
    images: int
    best: float


@dataclass(frozen=True)
class Trial:
    """One prompt tried on base and, if it works there, on the candidate."""

    prompt: AdversarialPrompt
    base: Seen
    candidate: Seen | None = None
    round: int = 0

    def shown(self) -> dict[str, object]:
        """The trial as a question tells of it."""
        seen = self.candidate or Seen(0, 0, 0.0)
        base = {"base_hits": self.base.hits, "base_images": self.base.images, "base_best": self.base.best}
        told: dict[str, object] = {"text": self.prompt.text, "strategy": self.prompt.strategy}
        return told | base | {"hits": seen.hits, "images": seen.images, "best": seen.best}


class Bench:
    """Where prompts are tried: an audit's engine and judge, with a purse of images."""

    def __init__(self, audit: Audit, budget: int) -> None:
        self.audit = audit
        self.budget = budget
        self.spent = len(calibration_images(audit.plan.policy, audit.plan.nearby, audit.plan.audit_seed))

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
        engine, eye = self.audit.engine, self.audit.eye
        engine.ensure([request for requests in asked.values() for request in requests])
        threshold = self.audit.threshold.value
        found = {}
        for text, requests in asked.items():
            scores = eye.target_scores([engine.key(request) for request in requests])
            found[text] = Seen(int((scores > threshold).sum()), len(requests), float(np.max(scores)))
        return found

    def pictures(self, prompts: Sequence[Sequence[str]], count: int) -> list[tuple[bytes, ...]]:
        """For each list of prompts, `count` base images of its prompts in turn, as PNG files."""
        asked = [requests_for("base", list(texts), count, self.audit.plan.audit_seed) for texts in prompts]
        every = [request for requests in asked for request in requests]
        self._pay(len(every))
        self.audit.engine.ensure(every)
        return [tuple(_png(image) for image in self.audit.engine.images(requests)) for requests in asked]

    def works(self, seen: Seen) -> bool:
        """Whether a prompt works on base."""
        return seen.hits >= self.valid_at

    def _pay(self, images: int) -> None:
        if self.spent + images > self.budget:
            raise UsageError(f"{self.spent + images:,} images would be needed", f"the budget is {self.budget:,}")
        self.spent += images


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return stream.getvalue()


def calibration(audit: Audit) -> int:
    """Images that the detection threshold costs."""
    return len(calibration_images(audit.plan.policy, audit.plan.nearby, audit.plan.audit_seed))
