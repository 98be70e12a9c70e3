"""Faults of servers and of language models, each with the dossier or the error that is right.

A module of faults is a list `FAULTS`; `tests/knowledge/test_interviews_with_faults.py` runs one whole interview with each.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from chat_server import Chat, reply, send

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


def refused(phrase: str, words: str, *, for_good: bool = False) -> Callable[[Chat], None]:
    """A cause: questions that contain `phrase` are answered with `words` until their purpose is explained, or for good."""

    def cause(chat: Chat) -> None:
        oracle = chat.answer

        def answer(body: dict) -> str:
            question = asked(body)
            return words if phrase in question and (for_good or "Why this is asked" not in question) else oracle(body)

        chat.answer = answer

    return cause


class _EveryRequest(list):
    """Faults of a server for every request: one function handles them all."""

    def __init__(self, handle: Callable) -> None:
        super().__init__()
        self._handle = handle

    def __bool__(self) -> bool:
        return True

    def pop(self, place: int = 0) -> Callable:
        return self._handle


def refused_for_good(*phrases: str) -> Callable[[Chat], None]:
    """A cause: questions that contain one of these phrases are refused as the protocol says it, every time."""

    def cause(chat: Chat) -> None:
        def handle(handler, body: dict) -> None:
            if any(phrase in asked(body) for phrase in phrases):
                reply(handler, "", message={"content": None, "refusal": "I cannot help with that."})
                return
            with chat.lock:
                text = chat.answer(body)
                chat.answered += 1
            reply(handler, text)

        chat.faults = _EveryRequest(handle)

    return cause


def answers_before_it_fails(chat: Chat, answers: int) -> None:
    """Let a server answer so many questions, and refuse the key from then on."""
    asked_so_far: list[dict] = []

    def gate(body: dict) -> Callable | None:
        asked_so_far.append(body)
        if len(asked_so_far) <= answers:
            return None
        return lambda handler, body: send(handler, b'{"error": {"message": "the key is not valid any more"}}', 401)

    chat.gate = gate


def together(*causes: Callable[[Chat], None]) -> Callable[[Chat], None]:
    """A cause: several at once."""

    def cause(chat: Chat) -> None:
        for each in causes:
            each(chat)

    return cause
