"""Where a finished dossier comes from: its language models with what each gave, and what none of them could give."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dmun_audit.knowledge.dossier import Dossier, Helper
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.interview.panel import Panel, in_words
from dmun_audit.knowledge.parts import MORE_CONCEPTS_TOPIC, is_about_a_missing_part, missing_parts, thin_sentences
from dmun_audit.knowledge.thin_sentences import by_weight

SIMILARITY_TOPIC = "similarity"  # with which the topics of all questions about it begin
UNKNOWN_SIMILARITY = 0.5  # of every concept, if none was assessed: equal values claim no order


def facts_of(interviewer: Interviewer) -> dict[str, Any]:
    """One language model, its questions and its answers, as fields of a provenance."""
    texts = {name: interviewer.texts.version(name) for name in sorted(interviewer.used_templates)}
    return interviewer.transcript.facts() | {
        "templates": texts,
        "temperature": interviewer.temperature,
        "seed": interviewer.seed,
    }


def similarity_sentences(similarity: Collection[str], concepts: Sequence[str], panel: Panel) -> dict[str, str]:
    """What to say, by topic, of concepts without a similarity."""
    if not similarity:
        topics = [shortfall.topic for shortfall in panel.shortfalls if shortfall.topic.startswith(SIMILARITY_TOPIC)]
        reason = panel.reason(topics[0]) if topics else ""
        unordered = (
            f"No similarity of the concepts to the target{reason}. Their order is not known: every one has {UNKNOWN_SIMILARITY}."
        )
        return dict.fromkeys(topics, "") | {SIMILARITY_TOPIC: unordered}
    lacking = [name for name in concepts if name not in similarity]
    if not lacking:
        return {}
    count = "1 concept" if len(lacking) == 1 else f"{len(lacking)} concepts"
    return {
        SIMILARITY_TOPIC: f"No similarity of {count} ({', '.join(lacking[:5])}{', …' if lacking[5:] else ''}): the mean of the others stands for it."
    }


def finished(dossier: Dossier, panel: Panel, said: Mapping[str, str], start: Dossier | None = None) -> Dossier:
    """The dossier with its helpers, what it lacks, and its history. Validated again.

    `said` are sentences by topic, in the place of the panel's own. Everyone on the panel is a helper if the dossier began as
    `start`, and otherwise everyone but the first. What `start` lacked and was not asked for stays said.
    """
    reasons = {shortfall.topic: in_words(shortfall.reason) for shortfall in panel.shortfalls}
    others = {entry.topic: entry.sentence for entry in panel.shortfalls if entry.topic != MORE_CONCEPTS_TOPIC} | dict(said)
    inherited = []
    if start is not None:
        lacked = missing_parts(start)
        inherited = [line for line in start.provenance.thin if not is_about_a_missing_part(line, lacked)]
    provenance = dossier.provenance
    helpers = zip(panel.interviewers, panel.given, strict=True)
    added = [
        Helper(**facts_of(interviewer), parts=tuple(dict.fromkeys(topics)))
        for interviewer, topics in list(helpers)[0 if start else 1 :]
        if interviewer.transcript.facts()["questions"]
    ]
    unsupported = [line for each in panel.interviewers for line in each.transcript.sentences]
    history = dict.fromkeys([*provenance.history, *unsupported, *panel.remarks])
    changes = {
        "thin": tuple(by_weight([*inherited, *thin_sentences(dossier, reasons, others)])),
        "helpers": (*provenance.helpers, *added),
        "history": tuple(history),
    }
    whole = dossier.model_copy(update={"provenance": provenance.model_copy(update=changes)})
    return Dossier.model_validate(whole.model_dump())
