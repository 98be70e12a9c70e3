"""Draws images of models with known answers and has them judged, with the prompts of an audit and seeds of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.calibration.batched_judge import UNKNOWN, BatchedJudge
from benchmarks.calibration.judged_images import KINDS
from benchmarks.calibration.known_models import BASE, KnownModel
from dmun_audit._util.hashing import seed_of
from dmun_audit.claim_groups.adversarial import TEST_INDEX
from dmun_audit.knowledge.dossier import NearbyConcept
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Sampling
from dmun_audit.render.sampling import PipelineSampler

IMAGE_SEED = 2_607
"""The audit seed of the judged images. Models share the seeds of images of the same kind, prompt and place."""


@dataclass(frozen=True)
class JudgedPrompt:
    """A prompt of one kind, and the index of its first seed. `concept` is the nearby concept that it asks for."""

    kind: str
    text: str
    first_index: int
    concept: NearbyConcept | None = None

    def seeds(self, places: range) -> list[int]:
        """The seeds of the images at these places."""
        return [seed_of(IMAGE_SEED, self.text, self.first_index + place) for place in places]


def judged_prompts(plan: Plan) -> list[JudgedPrompt]:
    """Every prompt of an audit's candidate, and every prompt that its base model validates. Grouped by kind."""
    erasure = [case.prompt.text for case in plan.of_group("erasure") if case.prompt]
    adversarial = [case.prompt.text for case in plan.of_group("adversarial") if case.prompt]
    concepts = [case.concept for case in plan.of_group("retention") if case.concept]
    return [
        *(JudgedPrompt("erasure", text, 0) for text in erasure),
        *(JudgedPrompt("validation", text, 0) for text in adversarial),
        *(JudgedPrompt("adversarial", text, TEST_INDEX) for text in adversarial),
        *(JudgedPrompt("retention", text, 0, concept) for concept in concepts for text in concept.prompts),
    ]


class ImageScores:
    """The scores of the images, by kind in arrays of shape (models, prompts of the kind, images).

    `target` and `clip` are float32 and NaN where there is no image yet. `recognised` is uint8, for the kind "retention" alone:
    1 where the judge recognises the concept, `UNKNOWN` where there is no image yet. `images` is the number of images of each
    prompt by kind.
    """

    def __init__(self, models: Sequence[str], prompts: Sequence[JudgedPrompt], images: dict[str, int]) -> None:
        self.models = list(models)
        self.prompts = {kind: [prompt for prompt in prompts if prompt.kind == kind] for kind in KINDS}
        shapes = {kind: (len(models), len(of_kind), images[kind]) for kind, of_kind in self.prompts.items()}
        self.target = {kind: np.full(shape, np.nan, np.float32) for kind, shape in shapes.items()}
        self.clip = {kind: np.full(shape, np.nan, np.float32) for kind, shape in shapes.items()}
        self.recognised = np.full(shapes["retention"], UNKNOWN, np.uint8)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of `judged_images.npz` by name."""
        arrays = {f"{kind}_target": values for kind, values in self.target.items()}
        arrays |= {f"{kind}_clip": values.astype(np.float16) for kind, values in self.clip.items()}
        return arrays | {"retention_right": self.recognised}

    def count(self) -> int:
        """How many images there are."""
        return int(sum(np.isfinite(values).sum() for values in self.target.values()))


class ImageMaker:
    """Draws with the audit's own sampler in larger batches, and judges each batch. `base` is the base model."""

    def __init__(self, base: LoadedModel, judge: BatchedJudge, sampling: Sampling, batch: int, device: str) -> None:
        self._judge, self._device, self._batch = judge, device, batch
        self._sampling = replace(sampling, batch=batch)
        self._samplers: dict[str, PipelineSampler] = {}
        self.settings: dict[str, Any] = self._sampler(base).settings

    def fill(self, scores: ImageScores, row: int, model: LoadedModel, kinds: Sequence[str], places: dict[str, range]) -> int:
        """Make the missing images of one model, `row` of the scores, at these places of each kind. Returns their number."""
        missing = [
            (prompt, number, place, seed)
            for kind in kinds
            for number, prompt in enumerate(scores.prompts[kind])
            for place, seed in zip(places[kind], prompt.seeds(places[kind]), strict=True)
            if np.isnan(scores.target[kind][row, number, place])
        ]
        sampler = self._sampler(model)
        for start in range(0, len(missing), self._batch):
            batch = missing[start : start + self._batch]
            prompts = [prompt for prompt, *_ in batch]
            texts = [prompt.text for prompt in prompts]
            pixels = sampler.sample(texts, [seed for *_, seed in batch])
            results = self._judge.score(pixels, texts, [prompt.concept for prompt in prompts])
            for (prompt, number, place, _), target, clip, recognised in zip(batch, *results, strict=True):
                scores.target[prompt.kind][row, number, place] = target
                scores.clip[prompt.kind][row, number, place] = clip
                if prompt.kind == "retention":
                    scores.recognised[row, number, place] = recognised
        return len(missing)

    def _sampler(self, model: LoadedModel) -> PipelineSampler:
        """The sampler of a model's pipeline. Models that differ in the denoiser's weights alone share a pipeline."""
        name = model.reference.text
        if name not in self._samplers:
            self._samplers[name] = PipelineSampler(model, self._sampling, self._device)
        return self._samplers[name]


def kinds_of(model: KnownModel) -> tuple[str, ...]:
    """The kinds of a model's images. The base model validates adversarial prompts, and all others are tested with them."""
    return ("erasure", "validation", "retention") if model.name == BASE else ("erasure", "adversarial", "retention")


class TimeBudget:
    """A time limit for work in steps. `last_step` is the duration of the last one, in seconds."""

    def __init__(self, minutes: float) -> None:
        self._started = time.monotonic()
        self._limit = minutes * 60
        self.last_step = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def allows_another_step(self) -> bool:
        """Whether a step that takes half as long again as the last one ends in time."""
        return self.elapsed + 1.5 * self.last_step < self._limit
