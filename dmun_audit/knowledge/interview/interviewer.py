"""Asks a language model for items until enough of them are valid. Each new attempt tells the model what was wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Generic, Literal

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import canonical_json, seed_of
from dmun_audit.knowledge.interview.answers import Item, answer_schema, read_items
from dmun_audit.knowledge.interview.templates import BUILT_IN, Templates
from dmun_audit.knowledge.language_models.protocol import Answer, Message, Question
from dmun_audit.knowledge.language_models.transcript import Transcript
from dmun_audit.knowledge.texts import without_hidden_characters

_LOG = logging.getLogger(__name__)
ATTEMPTS = 4
PROMPT_WORDS = 40  # the most words that a prompt may have, as the model is told
QUOTED_CHARACTERS = 3_000  # of an invalid answer that the model is shown again
PROBLEMS_SENT = 8
PROGRESS_CHARACTERS = 120  # of a problem on a line of progress
PROGRESS_TOPICS = 4  # named on a line of progress

Validated = tuple[Item | None, str]
"""A valid item (corrected if need be) or None, and its problem or ""."""


def accept(item: Item) -> Validated[Item]:
    """Accept every item."""
    return item, ""


@dataclass(frozen=True)
class ItemRequest(Generic[Item]):
    """A request for a list of items.

    Attributes:
        template: Name of the question's template.
        values: Values for the template.
        item_type: Type of each item.
        topic: What is asked for, in words. It is part of the sampling seed, so it must not change.
        wanted: Number of items that the question asks for.
        minimum: Number of valid items without which the request fails.
        validate: Checks one item.
        identity: Items of the same identity count once.
        list_problem: The problem of the items as a list, or "".
        list_problem_fails: Whether the request fails if the list still has a problem after the last attempt.
        images: PNG files shown with the question.
        enough: Number of valid items that end the request early; None stands for `wanted`.
        whole_lists: Whether every answer is a whole list that replaces the one before, as a ranking does.
        must_parse: Whether the request fails if no answer had the form of a list, even with `minimum` 0.
        repeat: Tells requests with the same template and topic apart; part of the sampling seed.
        max_tokens: Limit of the answer's length; doubled after an answer that was cut off.
        optional: Whether the interview goes on without what this request cannot bring; `Interviewer.shortfalls` says so.
    """

    template: str
    values: dict[str, Any]
    item_type: type[Item]
    topic: str
    wanted: int
    minimum: int
    validate: Callable[[Item], Validated[Item]] = accept
    identity: Callable[[Item], str] = lambda item: str(item)
    list_problem: Callable[[Sequence[Item]], str] = lambda items: ""
    list_problem_fails: bool = True
    images: tuple[bytes, ...] = ()
    enough: int | None = None
    whole_lists: bool = False
    must_parse: bool = False
    repeat: int = 0
    max_tokens: int = 2_500
    optional: bool = False


@dataclass(frozen=True)
class Shortfall:
    """A request that brought nothing or too little: its topic, the reason, and a sentence for people."""

    topic: str
    reason: Literal["refused", "invalid", "cut off", "too large", "exhausted"]
    sentence: str


@dataclass
class _Progress(Generic[Item]):
    """The valid items of one request so far, and the last answer with its problems.

    `parsed` tells whether an answer had the form of a list, `cut_off` whether one ran out of tokens, `exhausted` whether the
    model added nothing although its last answer had no problem.
    """

    request: ItemRequest[Item]
    items: dict[str, Item] = field(default_factory=dict)
    last_answer: str = ""
    problems: list[str] = field(default_factory=list)
    attempts: int = 0
    cut_off: bool = False
    parsed: bool = False
    exhausted: bool = False
    refused: bool = False

    @property
    def list_problem(self) -> str:
        return self.request.list_problem(list(self.items.values())) if self.items else ""

    @property
    def is_done(self) -> bool:
        needed = self.request.minimum if self.exhausted else self.request.enough or self.request.wanted
        return len(self.items) >= needed and not self.list_problem

    @property
    def has_failed(self) -> bool:
        """Whether what was collected after the last attempt is too little."""
        unparsed = self.request.must_parse and not self.parsed
        incomplete = self.request.list_problem_fails and bool(self.list_problem)
        return len(self.items) < self.request.minimum or incomplete or unparsed

    def add(self, answer: Answer) -> None:
        """Add the valid items of an answer, and note the problems of the others."""
        self.attempts += 1
        self.last_answer = answer.text[:QUOTED_CHARACTERS]
        self.problems = []
        self.refused = answer.end == "refusal"
        if answer.end == "too large":
            self.problems.append("The answer was far too long. Keep to what was asked.")
        elif answer.end == "refusal":
            text = shorten(without_hidden_characters(answer.text), 200, placeholder="…")
            self.problems.append(f"You refused: {text!r}. The answer is needed to audit that the target is gone.")
        else:
            self._add_items(answer)

    def _add_items(self, answer: Answer) -> None:
        earlier, whole_lists = self.items, self.request.whole_lists
        self.items = {} if whole_lists else dict(earlier)
        items, self.problems = read_items(answer.text, self.request.item_type)
        self.parsed = self.parsed or bool(items) or not self.problems
        if answer.end == "length":
            self.cut_off = True
            self.problems.insert(0, "The answer was cut off at its end. Keep it shorter.")
        for item in items:
            valid, problem = self.request.validate(item)
            if problem:
                self.problems.append(problem)
            most = 2 * self.request.wanted * (2 if self.list_problem else 1)
            if valid is not None and len(self.items) < most:
                self.items.setdefault(self.request.identity(valid), valid)
        if whole_lists and len(self.items) < len(earlier):
            self.items = earlier  # the longest of several whole lists
        self.exhausted = self.attempts > 1 and len(self.items) == len(earlier) and not (self.problems or whole_lists)


class Interviewer:
    """Asks one language model, through its transcript, at one temperature and seed.

    `on_progress` gets lines for the user. `texts` are the texts of the questions.
    """

    def __init__(
        self,
        transcript: Transcript,
        temperature: float,
        seed: int,
        on_progress: Callable[[str], None] = lambda line: None,
        texts: Templates = BUILT_IN,
    ) -> None:
        self.transcript = transcript
        self.temperature = temperature
        self.seed = seed
        self.texts = texts
        self.used_templates: set[str] = {"system"}
        self._shortfalls: list[Shortfall] = []
        self._on_progress = on_progress

    @property
    def shortfalls(self) -> tuple[Shortfall, ...]:
        """What requests so far did not bring although the interview went on, in the order of the requests."""
        return tuple(self._shortfalls)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was read although it did not have the form asked for, in a few whole sentences, for the provenance."""
        return ()

    def collect(self, requests: Sequence[ItemRequest[Any]]) -> list[list[Any]]:
        """The items of every request, after up to four attempts each.

        An optional request that failed gives what it has, possibly nothing, and adds a Shortfall. Raises UsageError for the first
        other request that failed.
        """
        progress: list[_Progress[Any]] = [_Progress(request) for request in requests]
        self.used_templates |= {request.template for request in requests}
        for attempt in range(ATTEMPTS):
            unfinished = [entry for entry in progress if not entry.is_done]
            if not unfinished:
                break
            questions = [self._question(entry) for entry in unfinished]
            self._on_progress(self._progress_line(unfinished, questions, attempt))
            for entry, answer in zip(unfinished, self.transcript.ask(questions), strict=True):
                entry.add(answer)
                _LOG.debug(
                    "%s, attempt %d: %d valid items, %d problems",
                    entry.request.topic,
                    attempt + 1,
                    len(entry.items),
                    len(entry.problems),
                )
        for entry in progress:
            if entry.has_failed and not entry.request.optional:
                raise self._no_valid_answer(entry)
        self._shortfalls += [_shortfall(entry) for entry in progress if entry.has_failed or not entry.parsed]
        return [list(entry.items.values()) for entry in progress]

    def _progress_line(self, unfinished: Sequence[_Progress[Any]], questions: Sequence[Question], attempt: int) -> str:
        """What is asked next, how many answers the transcript holds, and why it is asked again."""
        problem = next((line for entry in unfinished for line in entry.problems), "more are needed")
        reason = shorten(problem, PROGRESS_CHARACTERS, placeholder="…")
        again = f" (attempt {attempt + 1} of {ATTEMPTS}: {reason})" if attempt else ""
        topics = list(dict.fromkeys(entry.request.topic.partition(" (")[0] for entry in unfinished))
        more = ", …" if len(topics) > PROGRESS_TOPICS else ""
        answered = self.transcript.count_answered(questions)
        kept = f", {answered} answered in the transcript" if answered else ""
        count = f"{len(unfinished)} {'questions' if len(unfinished) > 1 else 'question'}{kept}"
        return f"{count}: {', '.join(topics[:PROGRESS_TOPICS])}{more}{again}"

    def _question(self, progress: _Progress[Any]) -> Question:
        request = progress.request
        schema = answer_schema(request.item_type, 1, max(1, 2 * request.wanted if request.wanted > 1 else 1))
        system = self.texts.fill("system", {"schema": canonical_json(schema).decode(), "words": PROMPT_WORDS})
        text = self.texts.fill(request.template, {"wanted": request.wanted} | request.values)
        turns = [Message("system", system), Message("user", text, request.images)]
        if progress.attempts:
            turns += [Message("assistant", progress.last_answer or "{}"), Message("user", _correction(progress))]
        seed = seed_of(self.seed, request.template, request.topic, request.repeat, progress.attempts) % 2**31
        tokens = request.max_tokens * (2 if progress.cut_off else 1)  # a model that thinks aloud first needs more
        return Question(tuple(turns), schema, self.temperature, seed, tokens)

    def _no_valid_answer(self, progress: _Progress[Any]) -> UsageError:
        problem = progress.list_problem or (progress.problems[0] if progress.problems else "")
        count = (
            f"{len(progress.items)} of at least {progress.request.minimum} items were valid after {progress.attempts} attempts."
        )
        text = shorten(without_hidden_characters(progress.last_answer), 100, placeholder="…")
        last = f"Its last answer: {text!r}" if text else "Its last answer was empty."
        return UsageError(
            f"the language model {self.transcript.model!r} gave no valid answer about {progress.request.topic}",
            " ".join(part for part in (count, problem, last) if part),
            f"ask a larger model, or with another --seed; its answers are kept in {self.transcript.path} and not asked for "
            "again: delete that file to ask the same model anew",
        )


def _correction(progress: _Progress[Any]) -> str:
    """The turn that asks again: how many items are valid, and what is wrong with the last answer."""
    request = progress.request
    kept = f"{len(progress.items)} of {request.wanted} items can be used so far. " if request.wanted > 1 else ""
    kept = "Give the whole list again: nothing of this one is kept. " if request.whole_lists else kept
    problems = "\n".join(f"- {line}" for line in [*progress.problems[:PROBLEMS_SENT], progress.list_problem] if line)
    reason = f"This is wrong:\n{problems}" if problems else "More are needed, different from those."
    return f"{kept}{reason}\nAnswer again, as the schema says."


def _shortfall(progress: _Progress[Any]) -> Shortfall:
    request = progress.request
    reason: Literal["refused", "invalid"] = "refused" if progress.refused else "invalid"
    count = f"{len(progress.items)} of {request.wanted} items"
    words = "the language model refused" if progress.refused else "its answers were not valid"
    return Shortfall(request.topic, reason, f"{request.topic}: {count} could be had; {words}.")
