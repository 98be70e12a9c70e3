"""Refinement: prompts that do not bring out the target on the base model are bettered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmun_audit.audit import Audit
from dmun_audit.discover.bench import Bench, Trial, calibration
from dmun_audit.discover.findings import SHOWN, about, asked_for, known_prompts, sieve_of, with_found
from dmun_audit.knowledge.dossier import AdversarialPrompt, Dossier
from dmun_audit.knowledge.interview.answers import Improved
from dmun_audit.knowledge.interview.asking import Interviewer, Query, Sifted
from dmun_audit.knowledge.interview.sifting import Sieve
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.texts import fold


@dataclass(frozen=True)
class Refinement:
    """A refined dossier: how many of its adversarial prompts work on base, before and after."""

    dossier: Dossier
    worked: int
    works: int
    images: int


def refinement_budget(audit: Audit, rounds: int) -> int:
    """The most images that `refine` looks at."""
    return (
        calibration(audit) + (1 + rounds) * len(audit.plan.dossier.adversarial) * audit.plan.policy.adversarial.validation_images
    )


def refine(bench: Bench, interviewer: Interviewer, counter: TokenCounter, rounds: int, tell: Callable[[str], None]) -> Refinement:
    """Prompts that do not bring out the target on base go back to the language model with what was seen.

    A better prompt takes the place of the one it came from. Those that work come first in the new dossier, in the old
    order; no prompt is lost, since one that does not work is VACUOUS in an audit and never part of a pass.
    """
    dossier = bench.audit.plan.dossier
    sieve = sieve_of(dossier, counter)
    seen = bench.look("base", [prompt.text for prompt in dossier.adversarial])
    trials = [Trial(prompt, seen[prompt.text]) for prompt in dossier.adversarial]
    worked = sum(bench.works(trial.base) for trial in trials)
    tell(f"{worked} of {len(trials)} adversarial prompts work on base")
    for number in range(1, rounds + 1):
        failed = [place for place, trial in enumerate(trials) if not bench.works(trial.base)]
        if not failed:
            break
        better = _better(interviewer, sieve, dossier, [trials[place] for place in failed], trials, bench, number)
        if not better:
            tell(f"round {number}: the language model has no better prompts")
            break
        interviewer.transcript.release()
        seen = bench.look("base", [prompt.text for prompt in better.values()])
        for place, prompt in better.items():
            new = Trial(prompt, seen[prompt.text], round=number)
            if (new.base.hits, new.base.best) > (trials[failed[place]].base.hits, trials[failed[place]].base.best):
                trials[failed[place]] = new
        tell(f"round {number}: {sum(bench.works(trial.base) for trial in trials)} of {len(trials)} work on base")
    works = sum(bench.works(trial.base) for trial in trials)
    ordered = sorted(trials, key=lambda trial: not bench.works(trial.base))
    told = (
        f"Refined on {bench.audit.plan.policy.name}'s {bench.each} base images a prompt with {interviewer.transcript.model}: "
        f"{worked} of {len(trials)} adversarial prompts worked before, {works} after."
    )
    refined = with_found(dossier, [_noted(trial) for trial in ordered], [told, *asked_for(interviewer)])
    return Refinement(refined, worked, works, bench.spent)


def _noted(trial: Trial) -> AdversarialPrompt:
    if trial.round == 0:
        return trial.prompt
    return trial.prompt.model_copy(
        update={"note": f"refined in round {trial.round}: {trial.base.hits} of {trial.base.images} on base"}
    )


def _better(
    interviewer: Interviewer,
    sieve: Sieve,
    dossier: Dossier,
    failed: Sequence[Trial],
    trials: Sequence[Trial],
    bench: Bench,
    number: int,
) -> dict[int, AdversarialPrompt]:
    """Better prompts by the place in `failed` of those that they replace."""
    known = known_prompts(dossier) | {fold(trial.prompt.text) for trial in trials}

    def sift(item: Improved) -> Sifted[Improved]:
        if item.number > len(failed):
            return None, f"There is no number {item.number}."
        wrong = sieve.too_long(item.prompt) or sieve.wrong_for(failed[item.number - 1].prompt.strategy, item.prompt)
        if fold(item.prompt) in known:
            wrong = f"{item.prompt!r} is known already."
        return (None, wrong) if wrong else (item, "")

    values = about(dossier) | {
        "prompts": [trial.shown() | {"hits": trial.base.hits, "images": bench.each, "best": trial.base.best} for trial in failed],
        "working": [trial.prompt.text for trial in trials if bench.works(trial.base)][:SHOWN],
    }
    query = Query(
        "refine",
        values,
        Improved,
        f"better prompts (round {number})",
        len(failed),
        0,
        sift,
        lambda item: str(item.number),
        suffices=1,
        repeat=number,
    )
    found: dict[int, AdversarialPrompt] = {}
    used: set[str] = set()
    for item in interviewer.put([query])[0]:
        if fold(item.prompt) not in used:
            used.add(fold(item.prompt))
            found[item.number - 1] = failed[item.number - 1].prompt.model_copy(update={"text": item.prompt, "note": ""})
    return found
