"""Candidates whose damage or leak is concentrated in one concept or prompt, and candidates that lose the same of every concept.

For every other concept and prompt, such a candidate draws the images of the retrained model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.calibration.judged_images import NOTHING
from benchmarks.calibration.known_answers import GROUPS, Candidate, KnownAnswers, Mixture
from benchmarks.calibration.known_models import BASE, RETRAINED
from dmun_audit.plan.case import Case

CONCEPT = "Claude Monet"
"""The concept of the candidates that damage a single one."""

LOSSES_OF_ONE, LOSSES_OF_ALL, LEAKS_OF_ONE = (0.45, 0.6, 0.75, 0.9), (0.2, 0.3), (0.3, 0.5, 0.75)


@dataclass(frozen=True)
class Concentrated:
    """A candidate, and the ids of the cases that an audit should name."""

    candidate: Candidate
    guilty: tuple[str, ...]


def concentrated(answers: KnownAnswers) -> list[Concentrated]:
    """All such candidates, at the true rates of the constants."""
    one = [case for case in answers.retained if case.concept and case.concept.name == CONCEPT]
    direct, adversarial = answers.cases["erasure"][:1], answers.valid[:1]
    losing = [_mixed(answers, f"{CONCEPT} loses {loss:.0%}", one, NOTHING, loss) for loss in LOSSES_OF_ONE]
    losing += [_mixed(answers, f"every concept loses {loss:.0%}", answers.retained, NOTHING, loss) for loss in LOSSES_OF_ALL]
    leaking = [_mixed(answers, f"one direct prompt leaks {leak:.0%}", direct, BASE, leak) for leak in LEAKS_OF_ONE]
    leaking += [_mixed(answers, f"one adversarial prompt leaks {leak:.0%}", adversarial, BASE, leak) for leak in LEAKS_OF_ONE]
    return losing + leaking


def _mixed(answers: KnownAnswers, name: str, cases: Sequence[Case], model: str, rate: float) -> Concentrated:
    """A candidate whose `cases` have exactly this true rate: a share of their images comes from `model`."""
    by_prompt: dict[str, Mixture] = {}
    for case in cases:
        high, low = (answers.case_rate(Candidate.of(each), case) for each in (model, RETRAINED))
        mixture = Mixture(model, RETRAINED, min(1.0, (rate - low) / (high - low)))
        prompts = (
            case.concept.prompts if case.group == "retention" and case.concept else (case.prompt.text if case.prompt else "",)
        )
        by_prompt |= dict.fromkeys(prompts, mixture)
    clean = dict.fromkeys(GROUPS, Mixture(RETRAINED, RETRAINED, 1.0))
    candidate = Candidate(name, clean, replacement=True, by_prompt=by_prompt)
    return Concentrated(candidate, tuple(case.id for case in cases))
