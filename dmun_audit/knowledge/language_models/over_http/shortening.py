"""How one question is made to fit a server's context: a shorter answer, or less of the conversation before it. Pure functions.

What is shortened belongs to that question: later ones are asked in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dmun_audit.knowledge.language_models.over_http.error_wordings import Finding
from dmun_audit.knowledge.language_models.over_http.request_format import FEWEST_TOKENS
from dmun_audit.knowledge.language_models.protocol import Message, Question

_LONGEST_TURN = {"assistant": 300, "user": 800}  # characters of a turn that is shortened


@dataclass(frozen=True)
class Shortening:
    """How far a question is shortened.

    `max_tokens` limits its answer further. `history` is 0 for all turns, 1 for shortened turns after the first question, 2 for
    the first question alone.
    """

    max_tokens: int | None = None
    history: int = 0

    def apply(self, question: Question) -> Question:
        """The question with the turns that are left. `max_tokens` is not applied here."""
        return replace(question, messages=shortened_turns(question.messages, self.history)) if self.history else question

    def halved(self, sent_tokens: int, fewest: int = FEWEST_TOKENS) -> Shortening | None:
        """The shortening to half as long an answer as was asked for; None if half is too little."""
        return replace(self, max_tokens=sent_tokens // 2) if sent_tokens // 2 >= fewest else None


def shortened_turns(messages: Sequence[Message], history: int) -> tuple[Message, ...]:
    """The turns of a conversation, shortened after its first question (`history` 1) or without what follows it (2)."""
    first = next((place for place, message in enumerate(messages) if message.role == "user"), len(messages) - 1) + 1
    if history >= 2:
        return tuple(messages[:first])
    cut = [replace(message, text=_cut(message.text, _LONGEST_TURN.get(message.role, 800))) for message in messages[first:]]
    return (*messages[:first], *cut)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 2] + " …"


def next_shortening(now: Shortening, question: Question, sent_tokens: int, found: Finding) -> Shortening | None:
    """How to shorten a question that the server found too long. None if nothing is left to shorten.

    `sent_tokens` is the length of the answer that was asked for. Numbers in the server's words decide, if they are there.
    """
    if found.kind == "answer limit":
        limit = found.numbers.get("limit")
        if limit is None or limit >= sent_tokens:
            return now.halved(sent_tokens)
        return replace(now, max_tokens=limit) if limit >= FEWEST_TOKENS else None
    context, prompt = found.numbers.get("context", 0), found.numbers.get("prompt", 0)
    room = context - prompt if context and prompt else 0
    if found.kind == "context" and (not room or room >= sent_tokens):
        shorter = now.halved(sent_tokens)
        return shorter or _with_less_history(now, question)
    if found.kind == "context" and room >= FEWEST_TOKENS:
        return replace(now, max_tokens=room)
    return _with_less_history(now, question)


def _with_less_history(now: Shortening, question: Question) -> Shortening | None:
    """The shortening with fewer words of the turns after the first question; None if that changes nothing."""
    turns = shortened_turns(question.messages, now.history) if now.history else question.messages
    for history in range(now.history + 1, 3):
        if shortened_turns(question.messages, history) != turns:
            return Shortening(now.max_tokens, history)
    return None
