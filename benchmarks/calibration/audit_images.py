"""Which judged images stand behind the requests of a resampled audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from benchmarks.calibration.judged_images import JudgedImages
from benchmarks.calibration.known_answers import Candidate, Mixture
from benchmarks.calibration.known_models import BASE
from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups import retention
from dmun_audit.claim_groups.adversarial import TEST_INDEX
from dmun_audit.claim_groups.controls import KNOWN_INDEX, calibration_images
from dmun_audit.claim_groups.planning import candidate_requests
from dmun_audit.plan.case import ImageRequest, Side
from dmun_audit.plan.plan import Plan

KINDS_OF_SIDE: dict[Side, tuple[str, ...]] = {
    "base": ("erasure", "validation", "retention"),
    "candidate": ("erasure", "adversarial", "retention"),
}


class PlannedImages:
    """All images that a plan may request, and the position of each one in the arrays of `AuditImages`.

    `depth` is the number of images of each prompt, by kind. `size` is the length of the arrays. Raises UsageError where a
    prompt was not judged, or not often enough.
    """

    def __init__(self, images: JudgedImages, plan: Plan) -> None:
        self.plan = plan
        self.depth = dict.fromkeys(images.prompts, 1)
        requests = dict.fromkeys([*candidate_requests(plan), *chain.from_iterable(case.images for case in plan.cases)])
        kinds = {request: _kind(images, request) for request in requests}
        in_pairs = [request.index + 1 for request, kind in kinds.items() if kind == "retention" and request.index < KNOWN_INDEX]
        self._first_known = max(in_pairs, default=0)  # the base images that are in no pair come after the pairs
        for request, kind in kinds.items():
            self.depth[kind] = max(self.depth[kind], self._place(request) + 1)
        for kind, depth in self.depth.items():
            if depth > images.images_of_each(kind):
                judged = f"{images.images_of_each(kind)} were judged"
                raise UsageError(f"the policy asks for {depth} {kind} images of a prompt", judged)
        self._first: dict[tuple[Side, str], int] = {}
        self.size = 0
        for side, side_kinds in KINDS_OF_SIDE.items():
            for kind in side_kinds:
                for prompt, row in images.prompts[kind].items():
                    self._first[side, prompt] = self.size + row * self.depth[kind]
                self.size += len(images.prompts[kind]) * self.depth[kind]
        self.calibration = calibration_images(plan.policy, plan.nearby, plan.audit_seed)
        self.base_rows = retention.GROUP.rows(plan, "base")

    def positions(self, requests: Sequence[ImageRequest]) -> list[int]:
        """The positions of these images."""
        first = self._first
        return [first[request.side, request.prompt] + self._place(request) for request in requests]

    def _place(self, request: ImageRequest) -> int:
        """The place of a request among the judged images of its prompt."""
        if request.index >= KNOWN_INDEX:
            return self._first_known + request.index - KNOWN_INDEX
        return request.index % TEST_INDEX


def _kind(images: JudgedImages, request: ImageRequest) -> str:
    kinds = [kind for kind in KINDS_OF_SIDE[request.side] if request.prompt in images.prompts[kind]]
    if len(kinds) != 1:
        raise UsageError(
            f"there are no judged {request.side} images of “{request.prompt}”", "the images were judged for another dossier"
        )
    return kinds[0]


@dataclass(frozen=True)
class AuditImages:
    """The judged images of one resampled audit, at the positions of its `PlannedImages`. All arrays have the shape (size,).

    `target` holds target scores, `clip` CLIP scores, and `recognised` 1 where the judge recognises a nearby concept.
    """

    target: np.ndarray
    clip: np.ndarray
    recognised: np.ndarray


def resample_images(images: JudgedImages, candidate: Candidate, depth: dict[str, int], rng: np.random.Generator) -> AuditImages:
    """Draw the images of one audit, `depth` of each prompt. Base and candidate images of a pair have the same seed."""
    chosen: dict[str, np.ndarray] = {}
    for kind in images.prompts:
        shape = (len(images.prompts[kind]), images.images_of_each(kind))
        chosen[kind] = rng.integers(0, shape[1], shape) if candidate.replacement else np.argsort(rng.random(shape), axis=1)
    target, clip, recognised = [], [], []
    for side, kinds in KINDS_OF_SIDE.items():
        for kind in kinds:
            whole = Mixture(BASE, BASE, 1.0)
            mixtures = [candidate.mixture(kind, text) if side == "candidate" else whole for text in images.prompts[kind]]
            first, second = (
                np.array([[images.models[getattr(mixture, which)]] for mixture in mixtures]) for which in ("first", "second")
            )
            share = np.array([[mixture.share] for mixture in mixtures])
            # Of the base model's images of adversarial prompts, the first validate the prompt and the last test it.
            is_test_of_base = (first == images.models[BASE]) | (second == images.models[BASE])
            places = (
                np.where(is_test_of_base, chosen["validation"][:, ::-1], chosen[kind]) if kind == "adversarial" else chosen[kind]
            )
            coins = rng.random(places.shape) if (share < 1).any() else np.zeros(places.shape)
            places, coins = places[:, : depth[kind]], coins[:, : depth[kind]]
            model = np.where(coins < share, first, second)
            prompt = np.arange(len(places))[:, None]
            target.append(images.target[kind][model, prompt, places].ravel())
            clip.append(images.clip[kind][model, prompt, places].ravel())
            seen = images.recognised[model, prompt, places] if kind == "retention" else np.zeros(places.shape, np.int8)
            recognised.append(seen.ravel())
    return AuditImages(np.concatenate(target), np.concatenate(clip), np.concatenate(recognised))
