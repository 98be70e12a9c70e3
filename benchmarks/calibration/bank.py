"""The bank of judged images: of every model with a known answer, fresh images of an audit's own prompts, as the judge saw them.

An image is kept as three numbers: its target score, its CLIP score and, for a nearby concept, whether its label is right. Audits
are then resampled from them at no cost. Seeds are those that a plan of audit seed BANK_SEED would draw; an image of two models
with the same kind, prompt and place shares its seed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.calibration.models import BASE, Degree, Shelf
from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import seed_of
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.clip_scorer import ClipScorer
from dmun_audit.judge.reference import clip_parts
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.models import references
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.plan.plan import TEST_INDEX, Plan
from dmun_audit.policy import Sampling
from dmun_audit.render.sampling import PipelineSampler

BANK_SEED = 2_607
KINDS = ("erasure", "validation", "adversarial", "retention")
UNKNOWN = 255  # in `right`: not made yet


@dataclass(frozen=True)
class Question:
    """One prompt of the bank: what it is asked for, and where its seeds begin."""

    kind: str
    prompt: str
    first: int
    concept: NearbyConcept | None = None

    def seeds(self, places: range) -> list[int]:
        """The seeds of these places."""
        return [seed_of(BANK_SEED, self.prompt, self.first + place) for place in places]


def questions_of(plan: Plan) -> list[Question]:
    """Every prompt that an audit of this plan shows its candidate or validates on its base, grouped by kind, in the plan's order."""
    erasure = [case.prompt.text for case in plan.of_group("erasure") if case.prompt]
    adversarial = [case.prompt.text for case in plan.of_group("adversarial") if case.prompt]
    concepts = [case.concept for case in plan.of_group("retention") if case.concept]
    return [
        *(Question("erasure", text, 0) for text in erasure),
        *(Question("validation", text, 0) for text in adversarial),
        *(Question("adversarial", text, TEST_INDEX) for text in adversarial),
        *(Question("retention", text, 0, concept) for concept in concepts for text in concept.prompts),
    ]


class Bank:
    """Numbers of images by model, prompt and place; NaN and UNKNOWN where there is no image yet.

    For each kind, `target` and `clip` are float32 arrays (models, prompts of that kind, places); `right` is uint8, 1 for the
    right label, of the kind "retention" alone.
    """

    def __init__(self, models: Sequence[str], questions: Sequence[Question], each: dict[str, int]) -> None:
        self.models = list(models)
        self.questions = {kind: [question for question in questions if question.kind == kind] for kind in KINDS}
        shapes = {kind: (len(models), len(asked), each[kind]) for kind, asked in self.questions.items()}
        self.target = {kind: np.full(shape, np.nan, np.float32) for kind, shape in shapes.items()}
        self.clip = {kind: np.full(shape, np.nan, np.float32) for kind, shape in shapes.items()}
        self.right = np.full(shapes["retention"], UNKNOWN, np.uint8)

    def arrays(self) -> dict[str, np.ndarray]:
        """What the file holds."""
        named = {f"{kind}_target": values for kind, values in self.target.items()}
        named |= {f"{kind}_clip": values.astype(np.float16) for kind, values in self.clip.items()}
        return named | {"retention_right": self.right}

    def images(self) -> int:
        """How many images there are."""
        return int(sum(np.isfinite(values).sum() for values in self.target.values()))


class BatchedEyes:
    """The judge, looking at whole batches on the device: the same weights, scores and labels as in an audit.

    Only the embedding of images is ours: an image that already has the judge's size needs no resizing, so its preprocessing is one
    subtraction and one division. That is checked against the judge's own on opening. Raises LoadError where it differs.
    """

    def __init__(self, dossier: Dossier, device: str) -> None:
        import open_clip

        reference = f"local-dir:{references.atelier_judge()}"
        self._device = device
        self._dossier = dossier
        self.judge = ClipJudge(reference, device)
        name, tag = clip_parts(reference)
        self._model, _, self._preprocess = open_clip.create_model_and_transforms(name, pretrained=tag, device=device)
        self._model.eval()
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(self._model.visual.image_mean, device=device).reshape(shape)
        self._std = torch.tensor(self._model.visual.image_std, device=device).reshape(shape)
        self._check()

    def _check(self) -> None:
        from PIL import Image

        side = self._model.visual.image_size
        height, width = side if isinstance(side, tuple) else (side, side)
        pixels = np.random.default_rng(0).integers(0, 256, (4, height, width, 3), np.uint8)
        theirs = torch.stack([self._preprocess(Image.fromarray(image)) for image in pixels])
        apart = float((theirs - self._prepared(pixels).cpu()).abs().max())
        if apart > 1e-5:
            raise LoadError("the judge's preprocessing is not what the bank takes it for", f"they differ by {apart:.2g}")

    def _prepared(self, pixels: np.ndarray) -> torch.Tensor:
        images = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2)
        return (images.float() / 255 - self._mean) / self._std

    def look(self, pixels: np.ndarray, texts: Sequence[str], concepts: Sequence[NearbyConcept | None]) -> tuple[np.ndarray, ...]:
        """Target scores (n,), CLIP scores (n,) and right labels (n,) of images (n, height, width, 3) uint8 of these prompts."""
        with torch.inference_mode():
            vectors = self._model.encode_image(self._prepared(pixels), normalize=True).float().cpu().numpy()
        keys = [str(place) for place in range(len(pixels))]
        held = _Held(dict(zip(keys, vectors, strict=True)))
        scorer = ClipScorer(self.judge, self._dossier, held, _no_images)  # type: ignore[arg-type]  # embeddings in memory for a store of files
        right = np.full(len(keys), UNKNOWN, np.uint8)
        by_name = {concept.name: concept for concept in concepts if concept}
        for name, concept in by_name.items():
            places = [place for place, asked in enumerate(concepts) if asked and asked.name == name]
            labels = scorer.classify([keys[place] for place in places], concept)
            right[places] = [label == concept.label for label in labels]
        return scorer.target_scores(keys), scorer.clip_scores(keys, texts), right


@dataclass
class _Held:
    vectors: dict[str, np.ndarray]

    def read(self, key: str) -> np.ndarray | None:
        return self.vectors[key]

    def write(self, key: str, vector: np.ndarray) -> None:
        raise AssertionError("every embedding is there")


def _no_images(keys: Sequence[str]) -> list[np.ndarray]:
    raise AssertionError("no image needs embedding")


class Studio:
    """Draws and judges: the audit's own sampler with larger batches, and the batched eyes."""

    def __init__(self, shelf: Shelf, eyes: BatchedEyes, sampling: Sampling, batch: int, device: str) -> None:
        self._shelf, self._eyes, self._device = shelf, eyes, device
        self._sampling = replace(sampling, batch=batch)
        self._batch = batch
        self._samplers: dict[int, PipelineSampler] = {}

    def settings(self) -> dict[str, Any]:
        """What the audit's sampler says of itself."""
        return self._sampler(self._shelf.base).settings

    def fill(self, bank: Bank, place: int, model: LoadedModel, kinds: Sequence[str], places: dict[str, range]) -> int:
        """Make the images of one model (row `place` of the bank) at these places of each kind; returns how many."""
        wanted = [
            (question, kind, row, image, seed)
            for kind in kinds
            for row, question in enumerate(bank.questions[kind])
            for image, seed in zip(places[kind], question.seeds(places[kind]), strict=True)
            if np.isnan(bank.target[kind][place, row, image])
        ]
        sampler = self._sampler(model)
        for chunk in _chunks(wanted, self._batch):
            asked = [question for question, *_ in chunk]
            texts = [question.prompt for question in asked]
            pixels = sampler.sample(texts, [seed for *_, seed in chunk])
            seen = self._eyes.look(pixels, texts, [question.concept for question in asked])
            for (_, kind, row, image, _), target, clip, right in zip(chunk, *seen, strict=True):
                bank.target[kind][place, row, image] = target
                bank.clip[kind][place, row, image] = clip
                if kind == "retention":
                    bank.right[place, row, image] = right
        return len(wanted)

    def _sampler(self, model: LoadedModel) -> PipelineSampler:
        if id(model) not in self._samplers:
            self._samplers[id(model)] = PipelineSampler(model, self._sampling, self._device)
        return self._samplers[id(model)]


def _chunks(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (things[start : start + size] for start in range(0, len(things), size))


def kinds_of(degree: Degree) -> tuple[str, ...]:
    """What a model of the bank is asked: only the base validates prompts, and it is no candidate of adversarial ones."""
    return ("erasure", "validation", "retention") if degree.name == BASE else ("erasure", "adversarial", "retention")


class Clock:
    """Says whether there is time for as much again as the last piece took."""

    def __init__(self, minutes: float) -> None:
        self._started = time.monotonic()
        self._limit = minutes * 60
        self.last = 0.0

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def allows_more(self) -> bool:
        """Whether another piece, half as long again as the last, ends in time."""
        return self.spent + 1.5 * self.last < self._limit
