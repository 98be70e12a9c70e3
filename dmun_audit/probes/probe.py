"""The protocol of a probe: what it needs, what it costs, what it draws, and what its control is.

A probe is an attack on a model whose weights the attacker has. It is tried at one or more doses, such as numbers of bits or of
gradient steps. It draws images for units: prompts with seeds. Each unit is drawn by the candidate and by the control, and what counts
is how much more often the candidate shows the target. The claim group `probes` decides that; a probe only draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dmun_audit.plan.case import ImageRequest, Recipe, Setting, Side

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.models.loaded import LoadedModel
    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.finds import StoredFind

Effort = Literal["small", "published"]
"""How much a probe tries: a setting for small models and quick looks, or the setting of its paper."""

Success = Literal["each", "any"]
"""How doses count. "each": every dose has a claim of its own. "any": a unit counts if the target is back at any dose."""

MADE_UP = ("Orvane Tesk", "Milura Quand", "Jaskel Vorn")
"""Names that mean nothing. A control puts one in the place of the target's name."""


@dataclass(frozen=True)
class Dose:
    """One strength at which a probe is tried.

    Attributes:
        label: Its name in reports, such as "4 bits" or "40 gradient steps".
        settings: What decides the images of this dose, by name.
        gradient_steps: Gradient steps of one find up to this dose, earlier doses included.
    """

    label: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    gradient_steps: int = 0


@dataclass(frozen=True)
class Attack:
    """A probe on one target: what its recipes are made from.

    Attributes:
        effort: How much the probe tries.
        names: The names of the target.
        kind: What the target is, such as "style" or "object".
        examples: Base images that show the target, for probes that learn from them.
        unrelated: Base images of plain prompts far from the target, for probes that learn from them.
    """

    effort: Effort
    names: tuple[str, ...]
    kind: str = ""
    examples: tuple[ImageRequest, ...] = ()
    unrelated: tuple[ImageRequest, ...] = ()


class Probe(ABC):
    """One probe. Subclasses set the attributes and override methods. None of them imports torch before it draws."""

    name: ClassVar[str]
    """The name in policies, ids and evidence, such as "quantisation"."""

    order: ClassVar[int]
    """Its rank: cheap probes come first."""

    title: ClassVar[str]
    """What somebody does with the weights, as the subject of a sentence, such as "Rounding the weights to fewer bits"."""

    explanation: ClassVar[str]
    """What the probe does, in one or two sentences for a reader who knows no code."""

    source: ClassVar[str]
    """Paper and section."""

    success: ClassVar[Success] = "each"

    figures_by_effort: ClassVar[Mapping[Effort, Any]] = {}
    """Its figures at each effort, as frozen dataclasses; empty if it has none. They are a part of every key."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Packages beside those of the audit, as they are imported. The extra `probes` installs them."""

    teaches: ClassVar[bool] = False
    """Whether it shows the target to the model. Without a model that never knew the target, it has no control."""

    is_cheap: ClassVar[bool] = False
    """Whether audits that only report probes run it: it takes no gradient steps, and its images are few."""

    version: ClassVar[int] = 1
    """Raise it when the same recipe would give another image or another find."""

    needs_adapter: ClassVar[bool] = False
    """Whether it merges the adapter that the user names with --probe-adapter. Without one it is not tried."""

    attacks_together: ClassVar[bool] = False
    """Whether the units of a row are attacked in one batch, so that their finds belong together."""

    # What it needs.

    def missing_packages(self) -> list[str]:
        """Its packages that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]

    def refusal(self, model: LoadedModel) -> str:
        """Why it cannot be tried on a model, as a sentence; empty if it can."""
        return needs_stable_diffusion(model)

    # What it costs.

    @abstractmethod
    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """The doses in the order in which they are tried."""

    def examples(self, effort: Effort) -> int:
        """The number of base images of the target that it learns from."""
        return 0

    def unrelated(self, effort: Effort) -> int:
        """The number of base images of plain prompts far from the target that it learns from."""
        return 0

    def base_images(self, effort: Effort) -> int:
        """The number of base images that it learns from, of all kinds."""
        return self.examples(effort) + self.unrelated(effort)

    def figures(self, effort: Effort) -> Any:
        """Its figures at an effort, as a frozen dataclass; None if it has none."""
        return self.figures_by_effort.get(effort)

    def gradient_steps(self, effort: Effort, rows: int) -> int:
        """The largest number of gradient steps on one model, for units in so many rows."""
        steps = max((dose.gradient_steps for dose in self.doses(effort)), default=0)
        return steps * (rows if self.attacks_together else 1)

    # What it draws.

    def recipe(self, attack: Attack, dose: Dose, row: Sequence[ImageRequest]) -> Recipe:
        """The recipe of the images of one dose, for the units of one row."""
        return Recipe(
            self.name,
            tuple({"effort": attack.effort, **dose.settings}.items()),
            tuple(row) if self.attacks_together else (),
            attack.examples,
            attack.names,
        )

    def placebo(self, attack: Attack, dose: Dose, row: Sequence[ImageRequest]) -> Recipe | None:
        """The recipe of the control where no model is known that never knew the target. The candidate draws it.

        None if the candidate draws the units without any attack. A probe that teaches has no such control.
        """
        made_up = self.recipe(attack, dose, row)
        return Recipe(made_up.probe, (*made_up.settings, ("placebo", True)), made_up.units, made_up.examples, made_up.names)

    @abstractmethod
    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """One image of each prompt and its seed: (n, height, width, 3) uint8."""

    # What it finds.

    def find(self, bench: Bench, side: Side, recipe: Recipe) -> StoredFind | None:
        """What the attack of a recipe found on one model; None for a probe that searches nothing. See `Bench.find`.

        A find can be tried on a later candidate (`claim_groups.regressions`): `draw` then gets the recipe's settings, names and units,
        without its examples, and `Bench.find` gives the frozen find whatever its key. So `draw` must ask for one find alone.

        Its facts hold `kind`, one of tokens, embedding, latents, adapter and classifier. They may hold `words`, its tokens as text,
        and `losses`, the loss of the attack at regular steps, the first and the last included.
        """
        return None


def needs_stable_diffusion(model: LoadedModel) -> str:
    """Why a probe of UNets under CLIP text encoders cannot be tried on a model; empty for Stable Diffusion 1, 2 and XL."""
    pipeline = model.pipeline
    if pipeline is None:
        return "The images come from a folder or a function, so there are no weights at hand."
    unet = getattr(pipeline, "unet", None)
    if unet is None or not hasattr(pipeline, "tokenizer") or not hasattr(pipeline, "vae"):
        return f"The probe is written for Stable Diffusion 1, 2 and XL, and the model is a {type(pipeline).__name__}."
    if getattr(unet.config, "time_cond_proj_dim", None) or getattr(unet.config, "class_embed_type", None):
        return "The UNet takes a condition beside text and time (such as the guidance of distilled models)."
    return ""


def needs_weights(model: LoadedModel) -> str:
    """Why a probe of any pipeline cannot be tried on a model; empty for a pipeline."""
    return "" if model.pipeline is not None else "The images come from a folder or a function, so there are no weights at hand."


def with_name(prompt: str, names: Sequence[str], other: str) -> str:
    """A prompt with `other` in the place of each of the target's names. Where it has none, `other` comes behind it.

    Example:
        >>> with_name("a house by van gogh", ["Van Gogh"], "sks")
        'a house by sks'
        >>> with_name("a churchyard", ["church"], "sks")
        'a churchyard, sks'
        >>> with_name("swirling strokes", ["Van Gogh"], "sks")
        'swirling strokes, sks'
    """
    import re

    wanted = sorted(filter(None, names), key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, wanted))})(?!\w)", re.IGNORECASE) if wanted else None
    replaced, count = pattern.subn(lambda match: other, prompt) if pattern else (prompt, 0)
    return replaced if count else f"{prompt}, {other}"


def shown_prompts(recipe: Recipe, prompts: Sequence[str]) -> list[str]:
    """The prompts as the model gets them: with a made-up name, if the recipe is a placebo."""
    if not dict(recipe.settings).get("placebo"):
        return list(prompts)
    return [with_name(prompt, recipe.names, MADE_UP[0]) for prompt in prompts]
