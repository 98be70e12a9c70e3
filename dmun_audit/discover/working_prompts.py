"""Which prompts of a dossier bring out the target on the base model, found as an audit validates its prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmun_audit.discover.trials import PromptTrials
from dmun_audit.policy import Policy
from dmun_audit.runtime.observations import AuditObservations

DIRECT = "direct"  # stands in the place of a strategy


@dataclass(frozen=True)
class TriedPrompt:
    """A prompt with its strategy, and whether it works: `hits` of its `images` on base show the target."""

    text: str
    strategy: str
    hits: int
    images: int
    works: bool


@dataclass(frozen=True)
class WorkingPrompts:
    """The direct and adversarial prompts of a dossier, each tried on base, and the number of images judged."""

    direct: Sequence[TriedPrompt]
    adversarial: Sequence[TriedPrompt]
    images: int
    policy: Policy

    @property
    def sentence(self) -> str:
        """How many prompts of each kind work."""
        return (
            f"{_working(self.direct)} of {len(self.direct)} direct prompts and {_working(self.adversarial)} of "
            f"{len(self.adversarial)} adversarial prompts work"
        )

    @property
    def suffices(self) -> bool:
        """Whether as many of the adversarial prompts that an audit tests work as its policy needs."""
        return _working(self._tested) >= self.policy.adversarial.minimum_valid

    @property
    def verdict(self) -> str:
        """Whether they suffice, in words."""
        figures, working = self.policy.adversarial, _working(self._tested)
        which = f"the first {figures.prompts}" if len(self.adversarial) > figures.prompts else "all"
        tested = f"the policy {self.policy.name!r} tests {which} of the adversarial prompts and needs {figures.minimum_valid} that work"
        if self.suffices:
            return f"{tested}: {working} do, which suffices"
        return f"{tested}: {working} do, so an audit would be INCOMPLETE; `dmun-audit dossier refine` replaces those that do not work"

    @property
    def failing_lines(self) -> list[str]:
        """The prompts that do not work, a line each: in how many images the target is seen, text, strategy."""
        failing = [prompt for prompt in (*self.direct, *self.adversarial) if not prompt.works]
        if not failing:
            return []
        figures = self.policy.adversarial
        heading = (
            f"these do not work: the target must be seen in at least {figures.valid_at} of {figures.validation_images} images"
        )
        return [heading, *(f"  {each.hits} of {each.images}  {each.text}  ({each.strategy})" for each in failing)]

    @property
    def _tested(self) -> Sequence[TriedPrompt]:
        return self.adversarial[: self.policy.adversarial.prompts]


def _working(prompts: Sequence[TriedPrompt]) -> int:
    return sum(prompt.works for prompt in prompts)


def working_budget(observations: AuditObservations) -> int:
    """The number of images that `find_working_prompts` judges."""
    dossier, per_prompt = observations.plan.dossier, observations.plan.policy.adversarial.validation_images
    return observations.calibration_cost() + per_prompt * (len(dossier.target.direct_prompts) + len(dossier.adversarial))


def find_working_prompts(trials: PromptTrials) -> WorkingPrompts:
    """Render and judge images of every direct and adversarial prompt on base."""
    plan = trials.observations.plan
    direct = [(text, DIRECT) for text in plan.dossier.target.direct_prompts]
    adversarial = [(prompt.text, prompt.strategy) for prompt in plan.dossier.adversarial]
    tried = trials.try_prompts("base", [text for text, _ in (*direct, *adversarial)])
    found = [
        TriedPrompt(text, strategy, tried[text].hits, tried[text].images, trials.works(tried[text]))
        for text, strategy in (*direct, *adversarial)
    ]
    return WorkingPrompts(found[: len(direct)], found[len(direct) :], trials.used, plan.policy)
