"""Asks a language model for items until enough of them are valid. Each new attempt tells the model what was wrong."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import canonical_json, seed_of
from dmun_audit.knowledge.interview.answers import answer_schema, example_answer
from dmun_audit.knowledge.interview.collected_items import CollectedItems, Shortfall
from dmun_audit.knowledge.interview.item_request import ItemRequest, Validated
from dmun_audit.knowledge.interview.reading.near_items import Deviation
from dmun_audit.knowledge.interview.templates import BUILT_IN, Templates
from dmun_audit.knowledge.language_models.protocol import Message, Question
from dmun_audit.knowledge.language_models.transcript import Transcript

__all__ = ["ATTEMPTS", "Interviewer", "ItemRequest", "Shortfall", "Validated"]

_LOG = logging.getLogger(__name__)
ATTEMPTS = 4
PROMPT_WORDS = 40  # the most words that a prompt may have, as the model is told
PROGRESS_CHARACTERS = 120  # of a problem on a line of progress
PROGRESS_TOPICS = 4  # named on a line of progress
REMARKS: dict[Deviation, str] = {
    "cut off": "{} cut off; the whole items in {} were kept.",
    "form": "{} the items in another form than the schema's, such as a wrapping object, a bare list or lines; {} read.",
    "syntax": "{} faults of JSON, which were repaired.",
    "extra keys": "{} extra keys, which were left out.",
    "keys": "{} keys in another spelling, which were taken for those of the schema.",
    "values": '{} values in another form, such as "4/10", "yes" or a capital letter, which were converted.',
    "scale": "{} ratings from 0 to 10 or from 0 to 1, which were brought to the scale from 0 to 100.",
}
"""What is said of answers that were read although they deviate from their schema."""


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
        self._errors: list[UsageError] = []
        self._deviations: Counter[Deviation] = Counter()
        self.on_progress = on_progress

    @property
    def shortfalls(self) -> tuple[Shortfall, ...]:
        """What requests so far did not bring although the interview went on, in the order of the requests."""
        return tuple(self._shortfalls)

    @property
    def errors(self) -> tuple[UsageError, ...]:
        """For each shortfall the error that it would have been if its request were not optional."""
        return tuple(self._errors)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was read although it did not have the form asked for, in a few whole sentences, for the provenance."""
        return tuple(_remark(kind, self._deviations[kind]) for kind in REMARKS if self._deviations[kind])

    def collect(self, requests: Sequence[ItemRequest[Any]]) -> list[list[Any]]:
        """The items of every request, after up to four attempts each.

        An optional request that failed gives what it has, possibly nothing, and adds a Shortfall. Raises UsageError for the first
        other request that failed.
        """
        collected: list[CollectedItems[Any]] = [CollectedItems(request) for request in requests]
        deviations = self._deviations.copy()
        try:
            self._ask(collected)
        except UsageError:
            self._deviations = deviations
            raise
        for entry in collected:
            if entry.has_failed and not entry.request.optional:
                raise self._no_valid_answer(entry)
        short = [entry for entry in collected if entry.is_short]
        self._shortfalls += [entry.shortfall for entry in short]
        self._errors += [self._no_valid_answer(entry) for entry in short]
        return [list(entry.items.values()) for entry in collected]

    def collect_kept(self, requests: Sequence[ItemRequest[Any]]) -> list[list[Any]]:
        """The items of every request as far as the transcript holds its answers; nothing is asked, and nothing is a shortfall."""
        collected: list[CollectedItems[Any]] = [CollectedItems(request) for request in requests]
        self._ask(collected, only_kept=True)
        return [list(entry.items.values()) for entry in collected]

    def _ask(self, collected: Sequence[CollectedItems[Any]], only_kept: bool = False) -> None:
        """Ask up to four times for each entry what it still needs; with `only_kept`, only what the transcript can answer."""
        self.used_templates |= {entry.request.template for entry in collected}
        for attempt in range(ATTEMPTS):
            unfinished = [entry for entry in collected if not entry.is_done and not entry.has_ended]
            if only_kept:
                unfinished = [entry for entry in unfinished if self.transcript.count_answered([self._question(entry)])]
            if not unfinished:
                break
            questions = [self._question(entry) for entry in unfinished]
            self.on_progress(self._progress_line(unfinished, questions, attempt))
            for entry, answer in zip(unfinished, self.transcript.ask(questions), strict=True):
                entry.add(answer)
                self._deviations.update(entry.deviations)
                _LOG.debug(
                    "%s, attempt %d: %d valid items, %d problems",
                    entry.request.topic,
                    attempt + 1,
                    len(entry.items),
                    len(entry.problems),
                )

    def _progress_line(self, unfinished: Sequence[CollectedItems[Any]], questions: Sequence[Question], attempt: int) -> str:
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

    def _question(self, entry: CollectedItems[Any]) -> Question:
        request = entry.request
        schema = answer_schema(request.item_type, 1, max(1, 2 * request.wanted if request.wanted > 1 else 1))
        system = self.texts.fill("system", {"schema": canonical_json(schema).decode(), "words": PROMPT_WORDS})
        turns = [Message("system", system), Message("user", self._text(entry), request.images)]
        if entry.corrects:
            turns += [Message("assistant", entry.last_words or "{}"), Message("user", entry.correction())]
        seed = seed_of(self.seed, request.template, request.topic, request.repeat, entry.attempts) % 2**31
        return Question(tuple(turns), schema, self.temperature, seed, entry.max_tokens)

    def _text(self, entry: CollectedItems[Any]) -> str:
        """The question in its first wording, with its purpose, or with an example of an answer."""
        request = entry.request
        text = self.texts.fill(request.template, {"wanted": request.asked} | request.values)
        if entry.wording == "first":
            return text
        self.used_templates.add(entry.wording)
        return self.texts.fill(entry.wording, {"question": text, "example": example_answer(request.item_type)})

    def _no_valid_answer(self, entry: CollectedItems[Any]) -> UsageError:
        request, refused = entry.request, entry.last_end == "refused"
        problem = entry.list_problem or next(iter(entry.problems), "")
        count = f"{len(entry.items)} of at least {request.minimum} items were valid after {entry.attempts} attempts."
        what = "refused to say anything" if refused else "gave no valid answer"
        remedy = "ask another model, or a larger one" if refused else "ask a larger model, or with another --seed"
        return UsageError(
            f"the language model {self.transcript.model!r} {what} about {request.topic}",
            " ".join(part for part in (count, problem, entry.quoted_words(100)) if part),
            f"{remedy}; its answers are kept in {self.transcript.path} and not asked for again: delete that file to ask the same "
            "model anew",
        )


def _remark(kind: Deviation, count: int) -> str:
    answers = "1 answer" if count == 1 else f"{count} answers"
    verb = "was" if count == 1 else "were"
    if kind == "cut off":
        return REMARKS[kind].format(f"{answers} {verb}", "it" if count == 1 else "them")
    return REMARKS[kind].format(f"{answers} had", f"it {verb}" if count == 1 else f"they {verb}")
