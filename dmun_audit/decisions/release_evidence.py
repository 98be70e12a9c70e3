"""Whether an audit is release evidence: its policy, and how its seed was drawn, compared with the built-in policy release."""

from __future__ import annotations

from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.parts import missing_sentences
from dmun_audit.plan.seeds import CHOSEN
from dmun_audit.policy import Policy, weaker_than_release

SEED_CHOSEN = "the seed was chosen with --audit-seed, and release draws it from the candidate's weights"


def weaker_than_a_release_audit(policy: Policy, drawn: str, dossier: Dossier) -> list[str]:
    """The ways in which an audit is weaker than one under the built-in policy release; empty for release evidence.

    `drawn` says how the seed was drawn, in the words of `plan.seeds`. A thin dossier counts as far as it lacks concepts or
    prompts, which all have their claims under release; an assessment of similarity that failed decides nothing.
    """
    lacking = missing_sentences(dossier) if dossier.provenance.thin else []
    thin = [f"the dossier is thin: {'; '.join(_lower(sentence) for sentence in lacking)}"] if lacking else []
    return [*thin, *weaker_than_release(policy), *([SEED_CHOSEN] if drawn == CHOSEN else [])]


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
