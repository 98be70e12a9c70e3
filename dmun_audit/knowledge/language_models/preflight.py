"""One small question before many: can the model be reached, how fast is it, does it keep to a schema, what will the rest take?

The question's schema names words that its text does not, so a model that is not held to the schema cannot guess them. The answer
stays in the transcript, unless it is no JSON: a command that goes on asks it once. No dossier counts it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.api_key import is_loopback
from dmun_audit.knowledge.language_models.protocol import Answer, Message, Question
from dmun_audit.knowledge.language_models.server_facts import ServerFacts, facts_of, require_reachable
from dmun_audit.knowledge.language_models.transcript import Transcript
from dmun_audit.knowledge.words.reasoning import without_reasoning

WORDS = ("quandlebeck", "ostriforn", "velmurra", "tashquill")
COUNT = 16  # words asked for: enough tokens to measure the speed by
SYSTEM = "A program reads your answers. Answer with JSON alone."
TEXT = (
    "This is a test of the connection. Answer with one JSON object and nothing else. Its field `words` is a list of "
    f"{COUNT} words of your choice."
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "words": {"type": "array", "items": {"type": "string", "enum": [*WORDS]}, "minItems": COUNT, "maxItems": COUNT}
    },
    "required": ["words"],
    "additionalProperties": False,
}
MAX_TOKENS = 600
SLOW_START = 5.0  # seconds; a server that needs more may have loaded the model meanwhile, so it is asked once more
READING = 0.1  # of the time that a token of an answer takes: a token of a question
SLOW = 60.0  # minutes; a longer interview is called slow
CHARACTERS_PER_TOKEN = 4.0

Form = Literal["schema", "json", "none", "unknown"]


@dataclass(frozen=True)
class QuestionPlan:
    """How many questions will be asked, and the tokens of all questions and of all answers, about. `longest` is the most tokens that
    one question has with its answer, once it is asked again. `at_most` says that there may be far fewer questions."""

    questions: int
    tokens_in: int
    tokens_out: int
    longest: int
    at_most: bool = False

    def without(self, answered: int) -> QuestionPlan:
        """The plan of what is left when so many questions are answered, each taken for one of average length."""
        left = max(0, self.questions - answered)
        share = left / max(1, self.questions)
        return replace(self, questions=left, tokens_in=round(share * self.tokens_in), tokens_out=round(share * self.tokens_out))


@dataclass(frozen=True)
class Limits:
    """What the user allows and pays: the longest time in minutes, dollars for a million tokens in and out; None for unknown."""

    minutes: float | None = None
    price_in: float | None = None
    price_out: float | None = None


@dataclass(frozen=True)
class PreflightResult:
    """What one small question showed.

    `seconds` is how long the answer took and `tokens` how many it had; `form` is how far it kept to the schema: "unknown" if it was
    cut off. `parallel` is the number of questions that the model is taken to answer at once.
    """

    seconds: float
    tokens: int
    form: Form
    parallel: int = 1
    facts: ServerFacts = field(default_factory=ServerFacts)

    @property
    def tokens_per_second(self) -> float:
        """Tokens of an answer in a second."""
        return self.tokens / max(self.seconds, 1e-3)

    def minutes(self, plan: QuestionPlan) -> float:
        """The minutes that the questions of a plan will take, about."""
        work = plan.tokens_out + READING * plan.tokens_in
        own = self.tokens + READING * len(SYSTEM + TEXT) / CHARACTERS_PER_TOKEN
        return work * self.seconds / max(own, 1.0) / self.parallel / 60


def question(temperature: float, attempt: int = 0) -> Question:
    """The question of the preflight at the interview's temperature; `attempt` tells repetitions apart."""
    return Question((Message("system", SYSTEM), Message("user", TEXT)), SCHEMA, temperature, attempt, MAX_TOKENS)


def preflight(transcript: Transcript, concurrency: int, temperature: float) -> PreflightResult:
    """Ask the model behind the transcript one small question, or take the answer that the transcript holds.

    `concurrency` is the number of questions that will be open at once. Raises UsageError if the server cannot be reached, if no
    answer comes, or if the answer is no JSON.
    """
    endpoint, model = transcript.endpoint, transcript.model

    def refuse(answer: Answer) -> UsageError | None:
        return None if form_of(answer) != "none" else _without_json(model, answer)

    if endpoint is not None and not transcript.kept_aside(question(temperature), refuse):
        require_reachable(endpoint)
    answer, seconds = transcript.ask_aside(question(temperature), refuse)
    if seconds > SLOW_START:
        again, second = transcript.ask_aside(question(temperature, 1), refuse)
        answer, seconds = (again, second) if second < seconds else (answer, seconds)
    form = form_of(answer)
    if form == "json":
        transcript.note_schema_ignored()
    hosted = endpoint is not None and not is_loopback(endpoint.url)
    tokens = answer.tokens_out or round(len(answer.text) / CHARACTERS_PER_TOKEN) or 1
    facts = facts_of(endpoint) if endpoint is not None else ServerFacts()
    return PreflightResult(seconds, tokens, form, max(1, concurrency) if hosted else 1, facts)


def _without_json(model: str, answer: Answer) -> UsageError:
    return UsageError(
        f"the language model {model!r} does not answer in JSON",
        f"to a small question it answered {answer.text[:80]!r}" if answer.text.strip() else "its answer was empty",
        "use a model or a server that keeps to a JSON schema, or add --no-preflight to try it all the same",
    )


def form_of(answer: Answer) -> Form:
    """How far an answer to the preflight's question keeps to its schema."""
    if answer.end in {"length", "too large"}:
        return "unknown"
    value = _first_object(answer.text)
    if value is None:
        return "none"
    words = value.get("words")
    honoured = set(value) == {"words"} and isinstance(words, list) and len(words) == COUNT and set(map(str, words)) <= set(WORDS)
    return "schema" if honoured else "json"


def _first_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text, after the thoughts of a reasoning model."""
    text = without_reasoning(text)
    for found in list(re.finditer(r"\{", text))[:20]:
        try:
            value, _ = json.JSONDecoder().raw_decode(text, found.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def announce(
    result: PreflightResult, plan: QuestionPlan, transcript: Transcript, limits: Limits, on_line: Callable[[str], None]
) -> None:
    """Say what the questions of a plan will take: one line, and a further one for each thing that speaks against the model.

    Answers that the transcript holds count as answers to them. Raises UsageError if the rest would take longer than
    `limits.minutes`.
    """
    kept = transcript.kept
    plan = plan.without(kept)
    minutes = result.minutes(plan)
    count = f"{plan.questions} {'question' if plan.questions == 1 else 'questions'}"
    held = f"{kept} {'answer is' if kept == 1 else 'answers are'} in the transcript; "
    number = f"{'at most' if plan.at_most else 'about'} {count}"
    parts = [
        f"{held}{number} {'is' if plan.questions == 1 else 'are'} left" if kept else (number if plan.at_most else count),
        f"about {round_number(plan.tokens_in + plan.tokens_out)} tokens",
        about(60 * minutes),
        *_cost(result.facts, plan, limits),
    ]
    on_line(f"{transcript.model}: {', '.join(parts) if plan.questions else f'{held}few questions are left, if any'}")
    if result.form == "json":
        on_line("the server does not keep to a JSON schema: answers are checked here, and wrong ones asked for again")
    context = result.facts.context
    if context is not None and context < plan.longest:
        on_line(
            f"the server reads {context:,} tokens, and the longest question needs about {round_number(plan.longest)} with its answer: "
            "give it a longer context (OLLAMA_CONTEXT_LENGTH, --ctx-size, --max-model-len)"
        )
    if limits.minutes is not None and minutes > limits.minutes:
        raise UsageError(
            f"the language model {transcript.model!r} {'could' if plan.at_most else 'would'} need {about(60 * minutes)}",
            f"it gives {result.tokens_per_second:.3g} tokens a second, and --max-minutes allows {limits.minutes:g}",
            "fewer --repeats, a smaller model, a larger machine, or a higher limit",
        )
    if minutes > SLOW:
        on_line(
            f"that is slow, {result.tokens_per_second:.3g} tokens a second: fewer --repeats, a smaller model or a larger machine "
            "shorten it; answers are kept, so the command can be stopped and repeated"
        )


def _cost(facts: ServerFacts, plan: QuestionPlan, limits: Limits) -> list[str]:
    """What the questions cost, by the user's prices or else by the server's; nothing where neither is known."""
    own = limits.price_in is not None or limits.price_out is not None
    price_in, price_out = (limits.price_in or 0.0, limits.price_out or 0.0) if own else (facts.price_in, facts.price_out)
    if price_in is None or price_out is None:
        return []
    dollars = (price_in * plan.tokens_in + price_out * plan.tokens_out) / 1e6
    return [f"about ${dollars:.2f}" if dollars >= 0.01 else ("free of charge" if dollars == 0 else "less than $0.01")]


def about(seconds: float) -> str:
    """A duration in words, rounded: "about 6 minutes"."""
    if seconds < 45:
        return "less than a minute"
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return f"about {minutes} {'minute' if minutes == 1 else 'minutes'}"
    return f"about {round(seconds / 3600)} hours"


def round_number(number: int) -> str:
    """A number with two digits and zeros."""
    size = 10 ** max(0, len(str(number)) - 2)
    return f"{round(number / size) * size:,}"
