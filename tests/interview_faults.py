"""Faults of servers and of language models, each with the dossier or the error that is right.

A module of faults is a list `FAULTS`; `tests/knowledge/test_interviews_with_faults.py` runs one whole interview with each.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from chat_server import Chat

from dmun_audit.knowledge.dossier import Dossier


@dataclass(frozen=True)
class Fault:
    """One fault. `cause` brings it into the running server, whose `answer` is a competent language model until then.

    `dossier` asserts what is right of the dossier that the interview must make in spite of the fault. `error` is a pattern of the
    one error that must come instead. `most_requests` is the most requests that the interview may send, `most_extra` the most beside
    one for each question. `timeout` is the silence in seconds that the interview allows.
    """

    name: str
    cause: Callable[[Chat], None]
    dossier: Callable[[Dossier], None] | None = None
    error: str = ""
    most_requests: int | None = None
    most_extra: int | None = None
    timeout: float = 20.0


def asked(body: dict) -> str:
    """The text of the first question of a conversation; the turns after it ask again."""
    turn = next(turn for turn in body["messages"] if turn["role"] == "user")
    return turn["content"] if isinstance(turn["content"], str) else turn["content"][-1]["text"]


def changed_items(phrase: str, change: Callable[[list], list], *, first_only: bool = True) -> Callable[[Chat], None]:
    """A cause: questions that contain `phrase` are answered with `change(items)`, the first time or always."""

    def cause(chat: Chat) -> None:
        oracle = chat.answer

        def answer(body: dict) -> str:
            text = oracle(body)
            if phrase in asked(body) and not (first_only and len(body["messages"]) > 2):
                return json.dumps({"items": change(json.loads(text)["items"])}, ensure_ascii=False)
            return text

        chat.answer = answer

    return cause


def changed_text(phrase: str, change: Callable[[str], str], *, first_only: bool = True) -> Callable[[Chat], None]:
    """A cause: the text of answers to questions that contain `phrase` ("" for every one) is changed, the first time or always."""

    def cause(chat: Chat) -> None:
        oracle = chat.answer

        def answer(body: dict) -> str:
            text = oracle(body)
            return change(text) if phrase in asked(body) and not (first_only and len(body["messages"]) > 2) else text

        chat.answer = answer

    return cause
