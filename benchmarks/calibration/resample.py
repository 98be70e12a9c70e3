"""Audits resampled from the bank: the product's own code decides them, only engine, judge and measures are stood in for.

Every audit draws its own images of the bank, base images too, and so has a detection threshold, controls and valid
prompts of its own. The stand-ins know an image by its request; which image of the bank that is, the audit's `Lot` says.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from benchmarks.calibration.remembering import remembered
from benchmarks.calibration.subjects import BASE, GROUPS, JudgedBank, Subject
from dmun_audit._util.errors import UsageError
from dmun_audit.decisions.conclude import conclude, pooled_records
from dmun_audit.judge.detection import Threshold, calibrate
from dmun_audit.knowledge.dossier import NearbyConcept
from dmun_audit.plan.plan import TEST_INDEX, ImageRequest, Plan
from dmun_audit.policy import Policy
from dmun_audit.render.engine import covering
from dmun_audit.runtime.observations import Observations
from dmun_audit.runtime.runner import Audit

Record = dict[str, Any]
FIXED = {"erasure": 192, "adversarial": 96}  # images that `standard` had before its claims could stop early
SIDES = {"base": ("erasure", "validation", "retention"), "candidate": ("erasure", "adversarial", "retention")}
WRONG = ""  # the label of an image that the judge takes for something else


def fixed_policy(policy: Policy) -> Policy:
    """The same claims without early stopping, at no more images than `standard` had before it."""
    adversarial, erasure = policy.adversarial, policy.erasure
    return replace(
        policy,
        name=f"{policy.name}, fixed",
        erasure=replace(erasure, stopping="fixed", images=min(FIXED["erasure"], erasure.images)),
        adversarial=replace(adversarial, stopping="fixed", images=min(FIXED["adversarial"], adversarial.images)),
        retention=replace(policy.retention, stopping="fixed"),
    )


class Layout:
    """Where each image that a plan may ask for stands in a lot's flat arrays: by side and prompt, `deep` images of each kind."""

    def __init__(self, bank: JudgedBank, plan: Plan) -> None:
        asked = [*plan.candidate_requests(), *chain.from_iterable(case.images for case in plan.cases)]
        self.deep = dict.fromkeys(bank.rows, 1)
        self._start: dict[tuple[str, str], int] = {}
        for request in asked:
            kind, place = self._kind(bank, request), request.index % TEST_INDEX
            self.deep[kind] = max(self.deep[kind], place + 1)
        for kind, deep in self.deep.items():
            if deep > bank.each(kind):
                raise UsageError(f"the policy asks for {deep} {kind} images of a prompt", f"the bank holds {bank.each(kind)}")
        first = 0
        for side, kinds in SIDES.items():
            for kind in kinds:
                for prompt, row in bank.rows[kind].items():
                    self._start[side, prompt] = first + row * self.deep[kind]
                first += len(bank.rows[kind]) * self.deep[kind]
        self.size = first

    @staticmethod
    def _kind(bank: JudgedBank, request: ImageRequest) -> str:
        kinds = [kind for kind in SIDES[request.side] if request.prompt in bank.rows[kind]]
        if len(kinds) != 1:
            raise UsageError(f"the bank has no {request.side} images of “{request.prompt}”", "it was made for another dossier")
        return kinds[0]

    def places(self, requests: Sequence[ImageRequest]) -> list[int]:
        """The places of these requests."""
        start = self._start
        return [start[one.side, one.prompt] + one.index % TEST_INDEX for one in requests]


@dataclass(frozen=True)
class Lot:
    """The images that one audit happens upon: target scores, CLIP scores and right labels, flat in the order of a `Layout`."""

    target: np.ndarray
    clip: np.ndarray
    right: np.ndarray


def draw_lot(bank: JudgedBank, subject: Subject, deep: dict[str, int], rng: np.random.Generator) -> Lot:
    """Draw which images of the bank stand behind an audit's requests. Pairs of base and candidate share their place in the bank."""
    places: dict[str, np.ndarray] = {}
    for kind in bank.rows:
        shape = (len(bank.rows[kind]), bank.each(kind))
        drawn = rng.integers(0, shape[1], shape) if subject.replacement else np.argsort(rng.random(shape), axis=1)
        places[kind] = drawn
    seen: dict[str, list[np.ndarray]] = {"target": [], "clip": [], "right": []}
    for side, kinds in SIDES.items():
        for kind in kinds:
            first, second, share = subject.mixed[kind] if side == "candidate" else (BASE, BASE, 1.0)
            own = places["validation"][:, ::-1] if BASE in (first, second) and kind == "adversarial" else places[kind]
            coins = rng.random(own.shape) if share < 1 else np.zeros(own.shape)
            cut, coins = own[:, : deep[kind]], coins[:, : deep[kind]]
            row = np.where(coins < share, bank.models[first], bank.models[second])
            prompt = np.arange(len(cut))[:, None]
            for name, values in (("target", bank.target), ("clip", bank.clip)):
                seen[name].append(values[kind][row, prompt, cut].ravel())
            right = bank.right[row, prompt, cut] if kind == "retention" else np.zeros(cut.shape, np.int8)
            seen["right"].append(right.ravel())
    return Lot(*(np.concatenate(seen[name]) for name in ("target", "clip", "right")))


class BankEngine:
    """An engine that only counts: `drawn` are the images that a real one would have rendered, whole batches of them."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.drawn: set[ImageRequest] = set()

    def ensure(self, row: Sequence[ImageRequest], wanted: Sequence[ImageRequest] | None = None) -> None:
        """See `Engine.ensure`."""
        asked = row if wanted is None else wanted
        if not self.drawn.issuperset(asked):
            for batch in covering(row, asked, self._batch):
                self.drawn.update(batch)

    def key(self, request: ImageRequest) -> ImageRequest:
        """The stand-in of the judge knows an image by its request."""
        return request

    def count(self, side: str) -> int:
        """How many images of one side were drawn."""
        return sum(request.side == side for request in self.drawn)


class BankScorer:
    """The judge's word on images of the bank, as it was given when the bank was made."""

    def __init__(self, layout: Layout, lot: Lot) -> None:
        self._layout, self._lot = layout, lot

    def target_scores(self, keys: Sequence[ImageRequest]) -> np.ndarray:
        """See `ClipScorer.target_scores`."""
        return self._lot.target[self._layout.places(keys)]

    def threshold(self, keys: Sequence[ImageRequest]) -> Threshold:
        """See `ClipScorer.threshold`."""
        return calibrate(self.target_scores(keys))

    def classify(self, keys: Sequence[ImageRequest], concept: NearbyConcept) -> list[str]:
        """The concept's own label where the judge chose it, else `WRONG`."""
        return [concept.label if right else WRONG for right in self._lot.right[self._layout.places(keys)]]

    def clip_scores(self, keys: Sequence[ImageRequest], texts: Sequence[str]) -> np.ndarray:
        """See `ClipScorer.clip_scores`; the bank holds the score of each image with its own prompt."""
        return self._lot.clip[self._layout.places(keys)]


class BankObservations(Observations):
    """The observations of a resampled audit; describes images only as far as a claim on CLIP scores needs it."""

    # Types are ignored where stand-ins that look everything up take the place of an engine, an scorer and a damage.
    engine: BankEngine  # type: ignore[assignment]
    scorer: BankScorer  # type: ignore[assignment]

    def __init__(self, plan: Plan, layout: Layout, lot: Lot) -> None:
        super().__init__(plan, BankEngine(plan.policy.sampling.batch), BankScorer(layout, lot))  # type: ignore[arg-type]
        self._told = plan.policy.retention.score_margin is not None

    def ensure_base_of_retention(self, wanted: Sequence[ImageRequest]) -> None:
        """See `Observations.ensure_base_of_retention`."""
        if not self.engine.drawn.issuperset(wanted):
            super().ensure_base_of_retention(wanted)

    def similarity(self, concept: NearbyConcept, base: Sequence[ImageRequest]) -> dict[str, float]:
        """Not known of the bank's images."""
        return {}

    def described(self, requests: Sequence[ImageRequest]) -> list[Record]:
        """One record for each image."""
        if not self._told:
            return [{} for _ in requests]
        return [
            {"model": request.side, "prompt": request.prompt, "index": request.index, "clip_score": score}
            for request, score in zip(requests, self.clip_scores(requests), strict=True)
        ]


class NoDamage:
    """Measures nothing: every measure is 0, so no ordering is tested."""

    def of_pairs(self, base: Any, candidate: Any, right: Any) -> dict[str, float]:
        """See `Damage.of_pairs`."""
        return defaultdict(float)

    def collapsed(self, images: Any) -> float:
        """See `Damage.collapsed`."""
        return 0.0


@dataclass(frozen=True)
class Ended:
    """How one audit ended: its verdict, images drawn of each side, and of each pooled claim its verdict and how many images it took."""

    verdict: str
    candidate: int
    base: int
    claims: dict[str, tuple[str, int]]
    threshold: float
    valid: tuple[str, ...]  # ids of the adversarial cases that counted


def records_of(observations: BankObservations) -> dict[str, Record]:
    """Every record of one audit, pooled ones included."""
    plan, audit = observations.plan, Audit(observations, NoDamage())  # type: ignore[arg-type]
    records = {case.id: audit.run(case) for case in plan.cases if not case.pooled}
    return records | {record["case_id"]: record for record in pooled_records(plan, records)}


def run_audit(plan: Plan, layout: Layout, lot: Lot) -> Ended:
    """Run one whole audit on a lot of images."""
    observations = BankObservations(plan, layout, lot)
    records = records_of(observations)
    outcome = conclude(plan, records, deselected=set(), stopped="", own_failures=[])
    claims = {
        record["group"]: (record["verdict"], record["claim"]["trials"])
        for record in records.values()
        if record["pooled"] and record["claim"]["kind"] in ("rate_at_most", "paired_accuracy")
    }
    valid = (case.id for case in plan.of_group("adversarial") if records[case.id]["verdict"] != "VACUOUS")
    return Ended(
        outcome.verdict,
        observations.engine.count("candidate"),
        observations.engine.count("base"),
        {group: claims[group] for group in GROUPS},
        observations.threshold.value,
        tuple(valid),
    )


class Resampler:
    """Runs audits of any subject under several policies, on the same images for each."""

    def __init__(self, bank: JudgedBank, policies: dict[str, Policy]) -> None:
        self.bank = bank
        self.plans = {name: bank.plan(policy) for name, policy in policies.items()}
        self.layouts = {name: Layout(bank, plan) for name, plan in self.plans.items()}

    def run(
        self, subject: Subject, seed: int, numbers: Sequence[int], policies: Sequence[str] = ()
    ) -> Iterator[dict[str, Ended]]:
        """Audits number `numbers` of a subject, under all policies or these: their luck depends on seed, subject and number alone."""
        name = zlib.crc32(subject.name.encode())
        with remembered():
            for number in numbers:
                drawn = {}
                for policy in policies or self.plans:
                    layout = self.layouts[policy]
                    lot = draw_lot(self.bank, subject, layout.deep, np.random.default_rng([seed, name, number]))
                    drawn[policy] = run_audit(self.plans[policy], layout, lot)
                yield drawn
