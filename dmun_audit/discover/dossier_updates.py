"""What discovery reads from a dossier, and the new dossier that it makes of it, with its history."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.knowledge.build import with_history
from dmun_audit.knowledge.dossier import NAMELESS, AdversarialPrompt, Dossier, Ordering
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.interview.validation import AnswerValidator
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.reading import as_usage_error
from dmun_audit.knowledge.words.texts import fold

PROMPTS_SHOWN = 24  # to a language model, of the prompts tried so far


def validator_for(dossier: Dossier, counter: TokenCounter) -> AnswerValidator:
    """The validator of new prompts for this dossier."""
    return AnswerValidator(dossier.names, dossier.target.kind, dossier.target.label, counter)


def target_values(dossier: Dossier) -> dict[str, object]:
    """The values that describe the target in every question's template."""
    target = dossier.target
    return {"target": target.name, "kind": target.kind, "aliases": target.aliases, "nameless": sorted(NAMELESS)}


def folded_prompts(dossier: Dossier) -> set[str]:
    """All prompts of the dossier, folded."""
    return {fold(text) for text, _ in dossier.prompts_with_owners()}


def cost_sentences(interviewer: Interviewer) -> list[str]:
    """The questions asked and their cost, in whole sentences for the history; empty if none was asked."""
    facts = interviewer.transcript.facts()
    if not facts["questions"]:
        return []
    questions = ", ".join(
        f"{name} {interviewer.texts.version(name)[:12]}" for name in sorted(interviewer.used_templates - {"system"})
    )
    answers = f"{facts['questions']} {'answer' if facts['questions'] == 1 else 'answers'}"
    cost = f"{answers}, {facts['tokens_in']:,} tokens in and {facts['tokens_out']:,} out"
    origin = f"SHA-256 of the question {questions}, of the answers {facts['transcript'][:12]}"
    sampling = f"temperature {interviewer.temperature}, seed {interviewer.seed}"
    return [f"For that {facts['model']} gave {cost} ({sampling}; {origin}).", *interviewer.transcript.sentences]


def updated_dossier(
    dossier: Dossier,
    adversarial: Sequence[AdversarialPrompt],
    history: Sequence[str],
    orderings: tuple[Ordering, ...] | None = None,
) -> Dossier:
    """The dossier with these adversarial prompts, further sentences of history, and these orderings (None keeps its own).

    It is validated again. Raises UsageError if it is not valid.
    """
    changes: dict[str, object] = {"adversarial": tuple(adversarial)}
    if orderings is not None:
        changes["orderings"] = orderings
    with as_usage_error("the result does not make a dossier", "look at the language model's answers in its transcript"):
        return with_history(dossier.model_copy(update=changes), history)
