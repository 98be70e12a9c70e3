"""The bench: what a probe works with on one machine. It gives the networks of each side, images of the base, and the store of finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dmun_audit._util.hashing import digest, digest_file
from dmun_audit.evidence.schema import FindRecord
from dmun_audit.plan.case import CONTROL_MODEL, ImageRequest, Recipe, Side
from dmun_audit.plan.regressions import FIND
from dmun_audit.probes.parts.finds import FindStore, FrozenFile, StoredFind
from dmun_audit.probes.probe import Effort, Probe
from dmun_audit.probes.registry import probe_named
from dmun_audit.render.devices import memory_errors
from dmun_audit.store.environment import version
from dmun_audit.store.speeds import Speed, keep_speed

if TYPE_CHECKING:
    from dmun_audit.models.loaded import LoadedModel
    from dmun_audit.probes.parts.network import Network
    from dmun_audit.probes.parts.user_adapter import UserAdapter
    from dmun_audit.render.engine import Engine
    from dmun_audit.render.sampling import PipelineSampler


MEASURED_FROM = 32
"""Fewer images, or fewer gradient steps, are no measurement."""


@dataclass
class Spent:
    """What the probes of this process have spent. `search_seconds` are the part of `seconds` with gradient steps."""

    gradient_steps: int = 0
    images: int = 0
    seconds: float = 0.0
    search_seconds: float = 0.0
    _searching: bool = False

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Count the time of a search. A search within a search counts once."""
        if self._searching:
            yield
            return
        self._searching, started, before = True, time.monotonic(), self.gradient_steps
        try:
            yield
        finally:
            self._searching = False
            if self.gradient_steps > before:  # other searches count as drawing
                self.search_seconds += time.monotonic() - started

    @property
    def speed(self) -> Speed:
        """The seconds for an image and for a gradient step."""
        drawing = self.seconds - self.search_seconds
        return Speed(
            drawing / self.images if self.images >= MEASURED_FROM else None,
            self.search_seconds / self.gradient_steps if self.gradient_steps >= MEASURED_FROM else None,
        )


@dataclass
class Bench:
    """The models of one audit for probes. `load_control` loads the model that never knew the target; None if there is none.
    `most_minutes` is the time that its probes may take in this process; None for no limit. `adapter` is the LoRA that the user names; None
    without one. `frozen_files` are the finds of earlier audits by their SHA-256, and `frozen` is the one that is drawn with now.

    It implements `render.engine.Recipes`.
    """

    engine: Engine
    load_control: Callable[[], LoadedModel] | None = None
    control_reference: str = ""
    most_minutes: float | None = None
    adapter: UserAdapter | None = None
    frozen_files: Mapping[str, FrozenFile] = field(default_factory=dict)
    frozen: StoredFind | None = None
    spent: Spent = field(default_factory=Spent)
    _loaded: dict[Side, LoadedModel] = field(default_factory=dict)
    _networks: dict[Side, Network] = field(default_factory=dict)
    _samplers: dict[tuple[Side, Recipe], RecipeSampler] = field(default_factory=dict)

    @property
    def has_control_model(self) -> bool:
        """Whether there is a model that never knew the target."""
        return self.load_control is not None

    @property
    def is_out_of_time(self) -> bool:
        """Whether the time for probes is used up."""
        return self.most_minutes is not None and self.spent.seconds >= 60 * self.most_minutes

    def take_over(self) -> None:
        """Draw for this audit from now on. Audits of other targets over the same models have control models of their own."""
        if self.engine.recipes is not self:
            self.engine.forget(CONTROL_MODEL)
            self._networks.pop(CONTROL_MODEL, None)
            self.engine.recipes = self

    def refusal(self, probe: Probe) -> str:
        """Why a probe cannot be tried on the models of this audit; empty if it can."""
        if self.engine.execution.offload:
            return "The networks are offloaded from the GPU, and a probe needs them in one place: audit without --offload."
        if probe.needs_adapter and self.adapter is None:
            return "No adapter was named: give the file of a LoRA with --probe-adapter."
        sides: tuple[Side, ...] = ("base", "candidate")
        if refusal := next(filter(None, (probe.refusal(self.model(side)) for side in sides)), ""):
            return refusal
        refusal = probe.refusal(self.model(CONTROL_MODEL)) if self.has_control_model else ""
        return f"The control model {self.control_reference} will not do. {refusal}" if refusal else ""

    def model(self, side: Side) -> LoadedModel:
        """The model of a side. The control model is loaded when it is first asked for."""
        if side == CONTROL_MODEL and side not in self.engine.models:
            assert self.load_control is not None
            if side not in self._loaded:
                self._loaded[side] = self.load_control()
            self.engine.models[side] = self._loaded[side]
        return self.engine.models[side]

    def network(self, side: Side) -> Network:
        """The networks of a side's model."""
        from dmun_audit.probes.parts.network import Network

        if side not in self._networks:
            negative = self.engine.sampling.negative_prompt
            self._networks[side] = Network(self.model(side), self.engine.device, self.engine.size, negative)
        return self._networks[side]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count the time and the images of a probe, and keep how long they take on this machine."""
        started, before = time.monotonic(), self.engine.rendered
        try:
            yield
        finally:
            self.spent.seconds += time.monotonic() - started
            self.spent.images += self.engine.rendered - before
            keep_speed(self.engine.store.folder, self.model("base").source_digest, self.spent.speed)

    # Images.

    def sampler(self, side: Side, recipe: Recipe) -> RecipeSampler:
        """See `render.engine.Recipes`."""
        if (side, recipe) not in self._samplers:
            self._samplers[side, recipe] = RecipeSampler(self, side, recipe)
        return self._samplers[side, recipe]

    def plain_sampler(self, side: Side) -> PipelineSampler:
        """The sampler of a side without a probe: its pipeline, its scheduler, and the audit's steps and guidance."""
        from dmun_audit.render.sampling import PipelineSampler

        self.model(side)
        sampler = self.engine.sampler_of(side)
        assert isinstance(sampler, PipelineSampler)
        return sampler

    def scheduler(self, side: Side) -> Any:
        """A copy of the scheduler with which a side is drawn."""
        scheduler = self.plain_sampler(side).scheduler
        return type(scheduler).from_config(scheduler.config)

    @property
    def steps(self) -> int:
        """The number of denoising steps of the audit."""
        return int(self.engine.sampler["steps"])

    @property
    def guidance(self) -> float:
        """The scale of classifier-free guidance of the audit."""
        return float(self.engine.sampler["guidance"])

    def base_images(self, requests: Sequence[ImageRequest]) -> np.ndarray:
        """Images of the base (n, height, width, 3) uint8. They are drawn where the store lacks them."""
        self.engine.ensure(requests)
        return np.stack(self.engine.images(requests))

    def example_images(self, recipe: Recipe) -> np.ndarray:
        """The base images that a recipe learns from, (n, height, width, 3) uint8."""
        return self.base_images(recipe.examples)

    def base_images_of(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """The base's images of these prompts and seeds, (n, height, width, 3) uint8."""
        return self.base_images([ImageRequest("base", prompt, 0, seed) for prompt, seed in zip(prompts, seeds, strict=True)])

    def with_pipeline(self, side: Side, change: Callable[[Any], Any]) -> PipelineSampler:
        """The plain sampler of a side over a changed deep copy of its pipeline. `change` gets the copy and returns it."""
        from dmun_audit.models.in_memory import copy_to_draw_with

        return self.plain_sampler(side).over(change(copy_to_draw_with(self.model(side))))

    # Finds.

    def find_key(self, side: Side, recipe: Recipe, facts: Mapping[str, Any]) -> str:
        """The key of a find on one side: what decides it besides `facts` is the probe with its figures, the model, the base and the machine."""
        return FindStore.key(
            {
                **_probe_facts(recipe),
                "weights": self.model(side).weights_digest,
                "base": self.model("base").weights_digest,
                "dtype": self.engine.dtype,
                "threads": self.engine.sampling.threads if self.engine.device == "cpu" else 0,
                "environment": self.engine.environment,
                **facts,
            }
        )

    def holding(self, recipe: Recipe) -> Bench:
        """This bench, with the frozen find that a recipe names, if it names one: `find` then gives that one.

        Raises StoreError if the file of the find is not the one that was named.
        """
        named = dict(recipe.settings).get(FIND)
        return self if named is None else replace(self, frozen=self.frozen_files[str(named)].read())

    def find(self, key: str, make: Callable[[Path], tuple[dict[str, Any], dict[str, Any]]]) -> StoredFind:
        """The find of that key; `make` makes it where the store has none. A frozen find takes the place of every other."""
        if self.frozen is not None:
            return self.frozen

        def timed(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
            with self.spent.searching():
                return make(checkpoint)

        return FindStore(self.engine.store.folder).get(key, timed)

    def find_record(self, probe: Probe, side: Side, recipe: Recipe, dose: str, *, placebo: bool = False) -> FindRecord | None:
        """The record of what an attack found; None for a probe that searches nothing."""
        find = probe.find(self, side, recipe)
        if find is None:
            return None
        path = FindStore(self.engine.store.folder).path(find.key)
        return FindRecord(
            model=side,
            dose=dose,
            key=find.key,
            sha256=digest_file(path),
            kind=find.facts["kind"],
            words=tuple(find.facts.get("words", ())),
            losses=tuple(find.facts.get("losses", ())),
            settings=dict(recipe.settings),
            version=probe.version,
            seeds=tuple(unit.seed for unit in recipe.units),
            placebo=placebo,
        )

    def stepped(self, count: int = 1) -> None:
        """Count gradient steps that were taken."""
        self.spent.gradient_steps += count


class RecipeSampler:
    """Draws the images of one recipe on one side; implements `render.sampling.Sampler`."""

    def __init__(self, bench: Bench, side: Side, recipe: Recipe) -> None:
        self._bench = bench
        self._side: Side = side
        self._recipe = recipe
        self._probe = probe_named(recipe.probe)
        self.size = bench.engine.size
        self.settings = bench.plain_sampler(side).settings | {"recipe": recipe_facts(bench, recipe)}

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """One image for every prompt and its seed: (n, height, width, 3) uint8."""
        with memory_errors(
            f"in the probe {self._probe.name}",
            "free memory on it, lower probes.row or sampling.size in the policy, or leave the probe out of probes.run",
        ):
            return self._probe.draw(self._bench.holding(self._recipe), self._side, self._recipe, prompts, seeds)


def recipe_facts(bench: Bench, recipe: Recipe) -> dict[str, Any]:
    """What decides the images of a recipe besides model, prompt and seed, as plain values."""
    probe = probe_named(recipe.probe)
    return {
        **_probe_facts(recipe),
        "settings": [list(pair) for pair in recipe.settings],
        "units": [[unit.prompt, unit.seed] for unit in recipe.units],
        "examples": [bench.engine.key(example) for example in recipe.examples],
        "names": list(recipe.names),
        "base": bench.model("base").weights_digest,
        "base_drawn": digest(bench.plain_sampler("base").settings),
        "packages": {package: version(package) for package in probe.packages},
        **({"adapter": bench.adapter.digest} if probe.needs_adapter and bench.adapter else {}),
    }


def _probe_facts(recipe: Recipe) -> dict[str, Any]:
    """The probe of a recipe, with its figures: part of the keys of its images and of its finds."""
    probe, effort = probe_named(recipe.probe), cast(Effort | None, dict(recipe.settings).get("effort"))
    figures = probe.figures(effort) if effort else None
    return {"probe": probe.name, "version": probe.version} | ({"figures": asdict(figures)} if figures else {})
