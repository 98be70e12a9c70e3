"""What was found, written into a new dossier with its history; and what a question tells of the old one."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.knowledge.build import with_history
from dmun_audit.knowledge.dossier import NAMELESS, AdversarialPrompt, Dossier, Ordering
from dmun_audit.knowledge.interview import templates
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.interview.validation import AnswerValidator
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.reading import as_usage_error
from dmun_audit.knowledge.texts import fold

SHOWN = 24  # tried prompts that a language model gets to see


def validator_of(dossier: Dossier, counter: TokenCounter) -> AnswerValidator:
    """What new prompts for this dossier must pass."""
    return AnswerValidator(dossier.names, dossier.target.kind, dossier.target.label, counter)


def about(dossier: Dossier) -> dict[str, object]:
    """What every question of a discovery tells of the target."""
    target = dossier.target
    return {"target": target.name, "kind": target.kind, "aliases": target.aliases, "nameless": sorted(NAMELESS)}


def known_prompts(dossier: Dossier) -> set[str]:
    """All prompts of the dossier, folded."""
    return {fold(text) for text, _ in dossier.prompts_with_owners()}


def asked_for(interviewer: Interviewer) -> list[str]:
    """What a language model was asked for a discovery and at what cost, in whole sentences for the history."""
    facts = interviewer.transcript.facts()
    if not facts["questions"]:
        return []
    asked = ", ".join(f"{name} {templates.version(name)[:12]}" for name in sorted(interviewer.used - {"system"}))
    answers = f"{facts['questions']} {'answer' if facts['questions'] == 1 else 'answers'}"
    cost = f"{answers}, {facts['tokens_in']:,} tokens in and {facts['tokens_out']:,} out"
    origin = f"SHA-256 of the question {asked}, of the answers {facts['transcript'][:12]}"
    sampled = f"temperature {interviewer.temperature}, seed {interviewer.seed}"
    return [f"For that {facts['model']} gave {cost} ({sampled}; {origin}).", *interviewer.transcript.unsupported_parameters]


def with_found(
    dossier: Dossier,
    adversarial: Sequence[AdversarialPrompt],
    told: Sequence[str],
    orderings: tuple[Ordering, ...] | None = None,
) -> Dossier:
    """A new dossier: these adversarial prompts and orderings, and more sentences in its history. Validated again."""
    changes: dict[str, object] = {"adversarial": tuple(adversarial)}
    if orderings is not None:
        changes["orderings"] = orderings
    with as_usage_error("what was found does not make a dossier", "look at the language model's answers in its transcript"):
        return with_history(dossier.model_copy(update=changes), told)
