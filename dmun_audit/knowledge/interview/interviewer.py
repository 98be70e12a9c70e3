"""Puts questions until their answers hold: each is validated, and asked again, a bounded number of times, with what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Generic

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import canonical_json, seed_of
from dmun_audit.knowledge.interview import templates
from dmun_audit.knowledge.interview.answers import Item, items_in, schema_of
from dmun_audit.knowledge.language_models.protocol import Answer, Message, Question
from dmun_audit.knowledge.language_models.transcript import Transcript
from dmun_audit.knowledge.texts import without_unread

ATTEMPTS = 4
WORDS = 40
SHOWN_AGAIN = 3_000  # characters of a faulty answer that the model gets to see again
COMPLAINTS = 8
LONGEST_REASON = 120  # letters of it on a line of progress
TOPICS = 4  # named on a line of progress

Sifted = tuple[Item | None, str]


def keep(item: Item) -> Sifted[Item]:
    """Nothing to complain of."""
    return item, ""


@dataclass(frozen=True)
class Query(Generic[Item]):
    """One thing to find out.

    `validate` gives an item back (mended, or None where it is no good) with a complaint or "". `complete` says what the items
    lack as a whole, or "". Items of one `identity` count once. With `least` items the answer holds; as long as
    there are fewer than `suffices` (if not given, `wanted`), more are asked for. Where every answer stands `alone`, a later
    one replaces the one before instead of adding to it. A `legible` answer must be had even where no item of it need hold.
    Unless it is `complete_or_fail`, what is still lacking after the last attempt is done without.
    """

    template: str
    values: dict[str, Any]
    shape: type[Item]
    about: str
    wanted: int
    least: int
    validate: Callable[[Item], Sifted[Item]] = keep
    identity: Callable[[Item], str] = lambda item: str(item)
    complete: Callable[[Sequence[Item]], str] = lambda items: ""
    images: tuple[bytes, ...] = ()
    suffices: int | None = None
    alone: bool = False
    legible: bool = False
    complete_or_fail: bool = True
    repeat: int = 0
    tokens: int = 2_500


@dataclass
class _Course(Generic[Item]):
    """How far one query is.

    `cut_off` once an answer ran out of tokens, `legible` once one had the shape, `exhausted` once the model had nothing to
    add, faultless though its answer was.
    """

    query: Query[Item]
    items: dict[str, Item] = field(default_factory=dict)
    last: str = ""
    complaints: list[str] = field(default_factory=list)
    attempts: int = 0
    cut_off: bool = False
    legible: bool = False
    exhausted: bool = False

    @property
    def lacking(self) -> str:
        return self.query.complete(list(self.items.values())) if self.items else ""

    @property
    def done(self) -> bool:
        enough = self.query.least if self.exhausted else self.query.suffices or self.query.wanted
        return len(self.items) >= enough and not self.lacking

    def take(self, answer: Answer) -> None:
        """Keep what holds in an answer, and what to complain of."""
        self.attempts += 1
        self.last = answer.text[:SHOWN_AGAIN]
        self.complaints = []
        if answer.end == "too large":
            self.complaints.append("The answer was far too long. Keep to what was asked.")
            return
        if answer.end == "refusal":
            said = shorten(without_unread(answer.text), 200, placeholder="…")
            self.complaints.append(f"You refused: {said!r}. The answer is needed to audit that the target is gone.")
            return
        known, before = self.items, len(self.items)
        if self.query.alone:
            self.items = {}
        good, self.complaints = items_in(answer.text, self.query.shape)
        self.legible = self.legible or bool(good) or not self.complaints
        if answer.end == "length":
            self.cut_off = True
            self.complaints.insert(0, "The answer was cut off at its end. Keep it shorter.")
        for item in good:
            sifted, complaint = self.query.validate(item)
            if complaint:
                self.complaints.append(complaint)
            room = 2 * self.query.wanted * (2 if self.lacking else 1)
            if sifted is not None and len(self.items) < room:
                self.items.setdefault(self.query.identity(sifted), sifted)
        if self.query.alone and len(self.items) < before:
            self.items = known  # the best of several answers that stand alone
        self.exhausted = self.attempts > 1 and len(self.items) == before and not (self.complaints or self.query.alone)


class Interviewer:
    """Asks one language model, through its transcript, at one temperature and seed. `tell` hears how far it is."""

    def __init__(
        self, transcript: Transcript, temperature: float, seed: int, tell: Callable[[str], None] = lambda line: None
    ) -> None:
        self.transcript = transcript
        self.temperature = temperature
        self.seed = seed
        self.used: set[str] = {"system"}
        self._tell = tell

    def put(self, queries: Sequence[Query[Any]]) -> list[list[Any]]:
        """The items of every query. Raises UsageError for the first one that got no answer that holds."""
        courses: list[_Course[Any]] = [_Course(query) for query in queries]
        self.used |= {query.template for query in queries}
        for attempt in range(ATTEMPTS):
            open_ = [course for course in courses if not course.done]
            if not open_:
                break
            questions = [self._question(course) for course in open_]
            self._say(open_, questions, attempt)
            for course, answer in zip(open_, self.transcript.ask(questions), strict=True):
                course.take(answer)
        for course in courses:
            illegible = course.query.legible and not course.legible
            lacking = course.lacking if course.query.complete_or_fail else ""
            if len(course.items) < course.query.least or lacking or illegible:
                self._give_up(course)
        return [list(course.items.values()) for course in courses]

    def _say(self, open_: Sequence[_Course[Any]], questions: Sequence[Question], attempt: int) -> None:
        """Tell what is asked next, how much of it is known already, and why it is asked again."""
        wrong = next((line for course in open_ for line in course.complaints), "more are needed")
        why = shorten(wrong, LONGEST_REASON, placeholder="…")
        again = f" (attempt {attempt + 1} of {ATTEMPTS}: {why})" if attempt else ""
        topics = list(dict.fromkeys(course.query.about.partition(" (")[0] for course in open_))
        more = ", …" if len(topics) > TOPICS else ""
        known = self.transcript.known(questions)
        kept = f", {known} answered in the transcript" if known else ""
        asked = f"{len(open_)} {'questions' if len(open_) > 1 else 'question'}{kept}"
        self._tell(f"{asked}: {', '.join(topics[:TOPICS])}{more}{again}")

    def _question(self, course: _Course[Any]) -> Question:
        query = course.query
        schema = schema_of(query.shape, 1, max(1, 2 * query.wanted if query.wanted > 1 else 1))
        system = templates.fill("system", {"schema": canonical_json(schema).decode(), "words": WORDS})
        asked = templates.fill(query.template, {"wanted": query.wanted} | query.values)
        turns = [Message("system", system), Message("user", asked, query.images)]
        if course.attempts:
            held = f"{len(course.items)} of {query.wanted} items can be used so far. " if query.wanted > 1 else ""
            held = "Give the whole list again: nothing of this one is kept. " if query.alone else held
            wrong = "\n".join(f"- {line}" for line in [*course.complaints[:COMPLAINTS], course.lacking] if line)
            told = f"{held}This is wrong:\n{wrong}" if wrong else f"{held}More are needed, different from those."
            turns += [Message("assistant", course.last or "{}"), Message("user", f"{told}\nAnswer again, as the schema says.")]
        seed = seed_of(self.seed, query.template, query.about, query.repeat, course.attempts) % 2**31
        tokens = query.tokens * (2 if course.cut_off else 1)  # a model that thinks aloud first needs more
        return Question(tuple(turns), schema, self.temperature, seed, tokens)

    def _give_up(self, course: _Course[Any]) -> None:
        wrong = course.lacking or (course.complaints[0] if course.complaints else "")
        held = f"{len(course.items)} of at least {course.query.least} items could be used after {course.attempts} attempts. "
        said = shorten(without_unread(course.last), 100, placeholder="…")
        raise UsageError(
            f"the language model {self.transcript.model!r} gave no answer that holds about {course.query.about}",
            held + wrong + (f" It said: {said!r}" if said else " It said nothing."),
            f"ask a larger model, or with another --seed; its answers are kept in {self.transcript.path} and not asked for "
            "again: delete that file to ask the same model anew",
        )
