"""The valid items of one request, answer by answer, and how the request is asked next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import Generic, Literal

from dmun_audit.knowledge.interview.answers import EXAMPLES, Item
from dmun_audit.knowledge.interview.item_request import ItemRequest
from dmun_audit.knowledge.interview.reading.near_items import Deviation
from dmun_audit.knowledge.interview.reading.reading_answers import NO_LIST, Reading, read_answer
from dmun_audit.knowledge.language_models.protocol import Answer
from dmun_audit.knowledge.words.reasoning import without_reasoning
from dmun_audit.knowledge.words.texts import without_hidden_characters

QUOTED_CHARACTERS = 3_000  # of an invalid answer that the model is shown again
PROBLEMS_SENT = 8
MOST_TOKENS = 16_000  # of one answer, for a model that thinks before it answers
TOKENS_FOR_THOUGHTS = 4_000  # the least after a model was cut off while it was thinking
TOO_LARGE = "The answer was far too long. Keep to what was asked."
CUT_OFF = "The answer was cut off at its end. Keep it shorter."
CUT_OFF_BEFORE = "The answer was cut off before its JSON began. Think less before you answer."

Reason = Literal["refused", "invalid", "cut off", "too large", "exhausted"]
Wording = Literal["first", "purpose", "example"]


@dataclass(frozen=True)
class Shortfall:
    """A request that brought nothing or too little: its topic, the reason, and how many items of the `wanted` it `had`.

    `why` is the reason in words, for the sentence.
    """

    topic: str
    reason: Reason
    had: int
    wanted: int
    why: str

    @property
    def sentence(self) -> str:
        """What could not be had, for people."""
        count = f"{self.had} of {self.wanted} items" if self.wanted > 1 else "nothing"
        return f"{self.topic}: {count} could be had; {self.why}."

    def of_all(self, had: int) -> Shortfall:
        """The shortfall of several language models, which gave so many items together."""
        return replace(self, had=had)


@dataclass
class CollectedItems(Generic[Item]):
    """The valid items of one request so far, the last answer with its problems, and the next question.

    A refusal is met with a second wording that explains the purpose, once. A complaint that changes nothing is met with the plain
    question and an example, once. `wording` is that of the next question, `corrects` whether it shows the last answer with its
    problems, and `has_ended` whether asking again is of no use.

    `parsed` tells whether an answer had the form of a list, `exhausted` whether the model added nothing although its last answer
    had no problem. `last_words` is the last answer without thoughts. `deviations` are those of the last answer.
    """

    request: ItemRequest[Item]
    items: dict[str, Item] = field(default_factory=dict)
    last_words: str = ""
    problems: list[str] = field(default_factory=list)
    attempts: int = 0
    wording: Wording = "first"
    corrects: bool = False
    has_ended: bool = False
    parsed: bool = False
    exhausted: bool = False
    last_end: Reason = "invalid"
    max_tokens: int = 0
    deviations: frozenset[Deviation] = frozenset()
    _scale: int = 100
    _used_wordings: set[Wording] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.max_tokens = self.request.max_tokens

    @property
    def list_problem(self) -> str:
        """The problem of the items as a list, or ""."""
        return self.request.list_problem(list(self.items.values())) if self.items else ""

    @property
    def is_done(self) -> bool:
        """Whether nothing more is needed."""
        needed = self.request.minimum if self.exhausted else self.request.sufficient
        if self.attempts > 1 and not self.request.list_problem_fails and len(self.items) >= self.request.most_of_wanted:
            return True
        return len(self.items) >= needed and not self.list_problem

    @property
    def has_failed(self) -> bool:
        """Whether what was collected after the last attempt is too little."""
        unparsed = self.request.must_parse and not self.parsed
        incomplete = self.request.list_problem_fails and bool(self.list_problem)
        return len(self.items) < self.request.minimum or incomplete or unparsed

    @property
    def is_short(self) -> bool:
        """Whether the request brought too little, or nothing because no answer was of use."""
        return self.has_failed or not (self.items or self.parsed)

    @property
    def shortfall(self) -> Shortfall:
        """What the request did not bring."""
        why = {
            "refused": "the language model refused",
            "invalid": "its answers were not valid",
            "cut off": "its answers were cut off",
            "too large": "its answers were too long",
            "exhausted": "the language model had no more",
        }[self.last_end]
        problem = self.list_problem or next(iter(self.problems), "")
        detail = f" ({problem.rstrip('.')})" if problem and self.last_end == "invalid" else ""
        return Shortfall(self.request.topic, self.last_end, len(self.items), self.request.wanted, f"{why}{detail}")

    def add(self, answer: Answer) -> None:
        """Add the valid items of an answer, note the problems of the others, and decide how to ask next."""
        self.attempts += 1
        earlier = (self.last_words, self.problems, self.list_problem, len(self.items))
        self.deviations, self.exhausted = frozenset(), False
        reading = self._read(answer)
        self.last_words, self.problems = (reading.text or without_reasoning(answer.text))[:QUOTED_CHARACTERS], reading.problems
        if reading.refused:
            self.last_end = "refused"
        elif answer.end in ("length", "too large"):
            self.last_end = "cut off" if answer.end == "length" else "too large"
        else:
            self.last_end = "exhausted" if self.exhausted else "invalid"
        repeats = self.attempts > 1 and len(self.items) <= earlier[3] and (self.problems, self.list_problem) == earlier[1:3]
        same_words = self.attempts > 1 and len(self.items) <= earlier[3] and self.last_words == earlier[0] != ""
        self._decide(refused=reading.refused, repeats=repeats or same_words)

    def _decide(self, *, refused: bool, repeats: bool) -> None:
        """The wording of the next question."""
        other: Wording | None = "purpose" if refused else "example" if repeats else None
        self._used_wordings.add(self.wording)
        self.corrects = other is None
        if other is not None:
            self.has_ended = other in self._used_wordings
            self.wording = other

    def _read(self, answer: Answer) -> Reading[Item]:
        """Read an answer and add its items."""
        if answer.end == "too large":
            return Reading([], [TOO_LARGE])
        if answer.end == "refusal":
            return Reading([], ["The answer is a refusal."], refused=True, text=answer.text)
        cut_off = answer.end == "length"
        reading = read_answer(answer.text, self.request.item_type, cut_off=cut_off, scale=self._scale)
        self._scale = reading.scale
        earlier, whole_lists = self.items, self.request.whole_lists
        self.items = {} if whole_lists else dict(earlier)
        problems = [*reading.problems, *self._add(reading.items)]
        if cut_off:
            thinking = not reading.items and problems == [NO_LIST]
            problems = [CUT_OFF_BEFORE] if thinking else [CUT_OFF, *problems]
            if thinking or reading.items:  # an answer that says nothing of use would say no more at twice the length
                self._allow_more_tokens(thinking=thinking)
        if whole_lists and len(self.items) < len(earlier):
            self.items = earlier  # the longest of several whole lists
        self.parsed = self.parsed or bool(reading.items) or not problems
        self.exhausted = self.attempts > 1 and len(self.items) == len(earlier) and not (problems or whole_lists)
        self.deviations = reading.deviations
        return Reading(reading.items, problems, refused=reading.refused, text=reading.text)

    def _add(self, items: list[Item]) -> Iterator[str]:
        """Add the valid items; yields the problems of the others."""
        for item in items:
            if EXAMPLES.get(self.request.item_type) == item:
                yield "The example is not about the target."
                continue
            valid, problem = self.request.validate(item)
            if problem:
                yield problem
            most = 2 * self.request.wanted * (2 if self.list_problem else 1)
            if valid is not None and len(self.items) < most:
                self.items.setdefault(self.request.identity(valid), valid)

    def _allow_more_tokens(self, *, thinking: bool) -> None:
        """Double the limit of the answer's length: each time for a model that thinks aloud, otherwise once."""
        if thinking:
            self.max_tokens = max(self.max_tokens, min(MOST_TOKENS, max(TOKENS_FOR_THOUGHTS, 2 * self.max_tokens)))
        else:
            self.max_tokens = max(self.max_tokens, 2 * self.request.max_tokens)

    def correction(self) -> str:
        """The turn that asks again: how many items are valid, and what is wrong with the last answer."""
        request = self.request
        kept = f"{len(self.items)} of {request.wanted} items can be used so far. " if request.wanted > 1 else ""
        kept = "Give the whole list again: nothing of this one is kept. " if request.whole_lists else kept
        problems = "\n".join(f"- {line}" for line in [*self.problems[:PROBLEMS_SENT], self.list_problem] if line)
        reason = f"This is wrong:\n{problems}" if problems else "More are needed, different from those."
        return f"{kept}{reason}\nAnswer again, as the schema says."

    def quoted_words(self, characters: int) -> str:
        """The last words of the model for an error message, or a sentence that there are none."""
        text = shorten(without_hidden_characters(self.last_words), characters, placeholder="…")
        return f"Its last answer: {text!r}" if text else "Its last answer was empty."
