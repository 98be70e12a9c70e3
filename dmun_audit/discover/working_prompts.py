"""How many prompts of a dossier bring out the target on the base model, counted as an audit validates its prompts."""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit.discover.trials import PromptTrials
from dmun_audit.runtime.observations import AuditObservations


@dataclass(frozen=True)
class WorkingPrompts:
    """The numbers of direct and adversarial prompts that work on base, out of all of them, and of the images judged."""

    direct: int
    all_direct: int
    adversarial: int
    all_adversarial: int
    images: int

    @property
    def sentence(self) -> str:
        """Both numbers in words."""
        return (
            f"{self.direct} of {self.all_direct} direct prompts and {self.adversarial} of {self.all_adversarial} adversarial prompts "
            "work"
        )


def working_budget(observations: AuditObservations) -> int:
    """The number of images that `count_working_prompts` judges."""
    dossier, per_prompt = observations.plan.dossier, observations.plan.policy.adversarial.validation_images
    return observations.calibration_cost() + per_prompt * (len(dossier.target.direct_prompts) + len(dossier.adversarial))


def count_working_prompts(trials: PromptTrials) -> WorkingPrompts:
    """Render and judge images of every direct and adversarial prompt on base."""
    dossier = trials.observations.plan.dossier
    direct, adversarial = dossier.target.direct_prompts, [prompt.text for prompt in dossier.adversarial]
    tried = trials.try_prompts("base", [*direct, *adversarial])
    working = {text for text, images in tried.items() if trials.works(images)}
    return WorkingPrompts(
        sum(text in working for text in direct),
        len(direct),
        sum(text in working for text in adversarial),
        len(adversarial),
        trials.used,
    )
