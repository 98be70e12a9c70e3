"""Refinement: prompts that do not bring out the target on the base model are replaced by better ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dmun_audit.discover.dossier_updates import (
    PROMPTS_SHOWN,
    cost_sentences,
    folded_prompts,
    target_values,
    updated_dossier,
    validator_for,
)
from dmun_audit.discover.trials import CONFIRMATION_SEEDS, PromptTrials, Trial
from dmun_audit.knowledge.dossier import AdversarialPrompt, Dossier
from dmun_audit.knowledge.interview.answers import NumberedPrompt
from dmun_audit.knowledge.interview.interviewer import Interviewer, ItemRequest, Validated
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.runtime.observations import AuditObservations


@dataclass(frozen=True)
class RefinementResult:
    """A refined dossier, the number of its adversarial prompts that work on base before and after, and of images judged."""

    dossier: Dossier
    working_before: int
    working_after: int
    images: int


def refinement_budget(observations: AuditObservations, rounds: int) -> int:
    """The most images that `refine` judges: every prompt, a replacement in every round, and the last replacement once more."""
    prompts = len(observations.plan.dossier.adversarial)
    return observations.calibration_cost() + (2 + rounds) * prompts * observations.plan.policy.adversarial.validation_images


def refine(
    trials: PromptTrials, interviewer: Interviewer, counter: TokenCounter, rounds: int, on_progress: Callable[[str], None]
) -> RefinementResult:
    """Ask the language model to replace the prompts that do not bring out the target on base, in several rounds.

    A better prompt takes the place of the one that it replaces. Because the best of several prompts are partly luck, it counts as
    working only if it works again on fresh seeds. Prompts that work come first in the new dossier, in the old order. Prompts that
    do not work stay: an audit finds them VACUOUS, and they are never part of a pass.
    """
    dossier = trials.observations.plan.dossier
    base = trials.try_prompts("base", [prompt.text for prompt in dossier.adversarial])
    current = [Trial(prompt, base[prompt.text]) for prompt in dossier.adversarial]
    working_before = sum(trials.works(trial.base) for trial in current)
    on_progress(f"{working_before} of {len(current)} adversarial prompts work on base")
    replacements_tried: set[str] = set()
    for number in range(1, rounds + 1):
        failed = [index for index, trial in enumerate(current) if not trials.works(trial.base)]
        if not failed:
            break
        request = _replacement_request(trials, counter, current, failed, replacements_tried, number)
        replacements = _replacements(interviewer.collect([request])[0], current, failed)
        if not replacements:
            on_progress(f"round {number}: the language model has no better prompts")
            break
        replacements_tried |= {fold(prompt.text) for prompt in replacements.values()}
        interviewer.transcript.release()
        base = trials.try_prompts("base", [prompt.text for prompt in replacements.values()])
        for index, prompt in replacements.items():
            new, old = base[prompt.text], current[index].base
            if (new.hits, new.best) > (old.hits, old.best):
                current[index] = Trial(prompt, new, round=number)
        working = sum(trials.works(trial.base) for trial in current)
        on_progress(f"round {number}: {working} of {len(current)} work on base")
    current = _on_fresh_seeds(trials, current)
    working_after = sum(_works(trials, trial) for trial in current)
    ordered = sorted(current, key=lambda trial: not _works(trials, trial))
    sentence = (
        f"Refined on {trials.observations.plan.policy.name}'s {trials.images_per_prompt} base images a prompt with "
        f"{interviewer.transcript.model}: {working_before} of {len(current)} adversarial prompts worked before, {working_after} "
        "after, the new ones on fresh seeds."
    )
    refined = updated_dossier(dossier, [_with_note(trial) for trial in ordered], [sentence, *cost_sentences(interviewer)])
    return RefinementResult(refined, working_before, working_after, trials.used)


def _on_fresh_seeds(trials: PromptTrials, current: Sequence[Trial]) -> list[Trial]:
    """The trials; replacements that work are tried once more on fresh seeds."""
    replaced = [trial.prompt.text for trial in current if trial.round and trials.works(trial.base)]
    fresh = trials.try_prompts("base", replaced, CONFIRMATION_SEEDS) if replaced else {}
    return [replace(trial, fresh=fresh.get(trial.prompt.text)) for trial in current]


def _works(trials: PromptTrials, trial: Trial) -> bool:
    if trial.round == 0:
        return trials.works(trial.base)
    return trial.fresh is not None and trials.works(trial.fresh)


def _with_note(trial: Trial) -> AdversarialPrompt:
    if trial.round == 0:
        return trial.prompt
    images, seeds = (trial.fresh, "fresh seeds") if trial.fresh else (trial.base, "the seeds that it was picked on")
    note = f"refined in round {trial.round}: {images.hits} of {images.images} on base, on {seeds}"
    return trial.prompt.model_copy(update={"note": note})


def _replacement_request(
    trials: PromptTrials,
    counter: TokenCounter,
    current: Sequence[Trial],
    failed: Sequence[int],
    replacements_tried: set[str],
    number: int,
) -> ItemRequest[NumberedPrompt]:
    """The request of one round: a better prompt of the same strategy for each index in `failed`."""
    dossier = trials.observations.plan.dossier
    validator = validator_for(dossier, counter)
    known = folded_prompts(dossier) | {fold(trial.prompt.text) for trial in current} | replacements_tried

    def validate(item: NumberedPrompt) -> Validated[NumberedPrompt]:
        if item.number > len(failed):
            return None, f"There is no number {item.number}."
        if fold(item.prompt) in known:
            return None, f"{item.prompt!r} is known already."
        strategy = current[failed[item.number - 1]].prompt.strategy
        problem = validator.length_problem(item.prompt) or validator.strategy_problem(strategy, item.prompt, item.language)
        return (None, problem) if problem else (item, "")

    shown = [
        {
            "text": current[index].prompt.text,
            "strategy": current[index].prompt.strategy,
            "hits": current[index].base.hits,
            "images": current[index].base.images,
            "best": current[index].base.best,
        }
        for index in failed
    ]
    working = [trial.prompt.text for trial in current if trials.works(trial.base)][:PROMPTS_SHOWN]
    return ItemRequest(
        template="refine",
        values=target_values(dossier) | {"prompts": shown, "working": working},
        item_type=NumberedPrompt,
        topic=f"better prompts (round {number})",
        wanted=len(failed),
        minimum=0,
        validate=validate,
        identity=lambda item: str(item.number),
        enough=1,
        must_parse=True,
        repeat=number,
    )


def _replacements(
    items: Sequence[NumberedPrompt], current: Sequence[Trial], failed: Sequence[int]
) -> dict[int, AdversarialPrompt]:
    """Replacements by the index of the prompt that they replace; each text replaces one prompt only."""
    replacements: dict[int, AdversarialPrompt] = {}
    texts: set[str] = set()
    for item in items:
        if fold(item.prompt) not in texts:
            texts.add(fold(item.prompt))
            index = failed[item.number - 1]
            changes = {"text": item.prompt, "language": item.language, "note": ""}
            replacements[index] = current[index].prompt.model_copy(update=changes)
    return replacements
