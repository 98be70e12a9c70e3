"""Refinement: prompts that do not bring out the target on the base model are bettered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dmun_audit.discover.findings import SHOWN, about, asked_for, known_prompts, validator_of, with_found
from dmun_audit.discover.trials import CONFIRMED_FROM, PromptTrials, Trial
from dmun_audit.knowledge.dossier import AdversarialPrompt, Dossier
from dmun_audit.knowledge.interview.answers import Improved
from dmun_audit.knowledge.interview.interviewer import Interviewer, Query, Sifted
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.texts import fold
from dmun_audit.runtime.runner import Audit


@dataclass(frozen=True)
class Refinement:
    """A refined dossier: how many of its adversarial prompts work on base, before and after, and the images looked at."""

    dossier: Dossier
    worked: int
    works: int
    images: int


def refinement_budget(audit: Audit, rounds: int) -> int:
    """The most images that `refine` looks at: every prompt and every better one, and once more those that replace another."""
    prompts = len(audit.plan.dossier.adversarial)
    return audit.observations.calibration_cost() + (2 + rounds) * prompts * audit.plan.policy.adversarial.validation_images


def refine(
    bench: PromptTrials, interviewer: Interviewer, counter: TokenCounter, rounds: int, tell: Callable[[str], None]
) -> Refinement:
    """Prompts that do not bring out the target on base go back to the language model with what was seen.

    A better prompt takes the place of the one it came from. What was picked as the best of several is partly luck, so a
    better prompt counts as working only if it works again on fresh seeds. Those that work come first in the new dossier,
    in the old order; none is lost, since one that does not work is VACUOUS in an audit and never part of a pass.
    """
    dossier = bench.audit.plan.dossier
    seen = bench.look("base", [prompt.text for prompt in dossier.adversarial])
    trials = [Trial(prompt, seen[prompt.text]) for prompt in dossier.adversarial]
    worked = sum(bench.works(trial.base) for trial in trials)
    tell(f"{worked} of {len(trials)} adversarial prompts work on base")
    tried: set[str] = set()
    for number in range(1, rounds + 1):
        failed = [place for place, trial in enumerate(trials) if not bench.works(trial.base)]
        if not failed:
            break
        query = _question(bench, counter, trials, failed, tried, number)
        better = _replacements(interviewer.put([query])[0], trials, failed)
        if not better:
            tell(f"round {number}: the language model has no better prompts")
            break
        tried |= {fold(prompt.text) for prompt in better.values()}
        interviewer.transcript.release()
        seen = bench.look("base", [prompt.text for prompt in better.values()])
        for place, prompt in better.items():
            new = Trial(prompt, seen[prompt.text], round=number)
            if (new.base.hits, new.base.best) > (trials[place].base.hits, trials[place].base.best):
                trials[place] = new
        tell(f"round {number}: {sum(bench.works(trial.base) for trial in trials)} of {len(trials)} work on base")
    trials = _confirmed(bench, trials)
    works = sum(_works(bench, trial) for trial in trials)
    ordered = sorted(trials, key=lambda trial: not _works(bench, trial))
    told = (
        f"Refined on {bench.audit.plan.policy.name}'s {bench.each} base images a prompt with {interviewer.transcript.model}: "
        f"{worked} of {len(trials)} adversarial prompts worked before, {works} after, the new ones on fresh seeds."
    )
    refined = with_found(dossier, [_noted(trial) for trial in ordered], [told, *asked_for(interviewer)])
    return Refinement(refined, worked, works, bench.spent)


def _confirmed(bench: PromptTrials, trials: Sequence[Trial]) -> list[Trial]:
    """Better prompts that seem to work, each tried once more on fresh seeds."""
    chosen = [trial.prompt.text for trial in trials if trial.round and bench.works(trial.base)]
    again = bench.look("base", chosen, CONFIRMED_FROM) if chosen else {}
    return [replace(trial, again=again.get(trial.prompt.text)) for trial in trials]


def _works(bench: PromptTrials, trial: Trial) -> bool:
    if trial.round == 0:
        return bench.works(trial.base)
    return trial.again is not None and bench.works(trial.again)


def _noted(trial: Trial) -> AdversarialPrompt:
    if trial.round == 0:
        return trial.prompt
    seen, seeds = (trial.again, "fresh seeds") if trial.again else (trial.base, "the seeds that it was picked on")
    note = f"refined in round {trial.round}: {seen.hits} of {seen.images} on base, on {seeds}"
    return trial.prompt.model_copy(update={"note": note})


def _question(
    bench: PromptTrials, counter: TokenCounter, trials: Sequence[Trial], failed: Sequence[int], tried: set[str], number: int
) -> Query[Improved]:
    """What is asked in one round: a better prompt of the same strategy for each that `failed`, none that was `tried`."""
    dossier = bench.audit.plan.dossier
    validator = validator_of(dossier, counter)
    known = known_prompts(dossier) | {fold(trial.prompt.text) for trial in trials} | tried

    def validate(item: Improved) -> Sifted[Improved]:
        if item.number > len(failed):
            return None, f"There is no number {item.number}."
        if fold(item.prompt) in known:
            return None, f"{item.prompt!r} is known already."
        strategy = trials[failed[item.number - 1]].prompt.strategy
        wrong = validator.too_long(item.prompt) or validator.wrong_for(strategy, item.prompt, item.language)
        return (None, wrong) if wrong else (item, "")

    shown = [trials[place] for place in failed]
    values = about(dossier) | {
        "prompts": [trial.shown() | {"hits": trial.base.hits, "images": bench.each, "best": trial.base.best} for trial in shown],
        "working": [trial.prompt.text for trial in trials if bench.works(trial.base)][:SHOWN],
    }
    topic = f"better prompts (round {number})"
    return Query(
        "refine",
        values,
        Improved,
        topic,
        len(failed),
        0,
        validate,
        lambda item: str(item.number),
        suffices=1,
        legible=True,
        repeat=number,
    )


def _replacements(items: Sequence[Improved], trials: Sequence[Trial], failed: Sequence[int]) -> dict[int, AdversarialPrompt]:
    """Better prompts by the place of those that they may replace; none stands for two."""
    found: dict[int, AdversarialPrompt] = {}
    used: set[str] = set()
    for item in items:
        if fold(item.prompt) not in used:
            used.add(fold(item.prompt))
            place = failed[item.number - 1]
            changes = {"text": item.prompt, "language": item.language, "note": ""}
            found[place] = trials[place].prompt.model_copy(update=changes)
    return found
