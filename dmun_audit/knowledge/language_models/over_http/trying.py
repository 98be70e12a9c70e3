"""The tries at one question: again after faults that may pass, in another format where the server asks for one, shorter where the
question is too long, and at most once more after a silence."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import anyio
import httpx

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.over_http.error_wordings import Finding, finding
from dmun_audit.knowledge.language_models.over_http.fault_notes import FaultNotes
from dmun_audit.knowledge.language_models.over_http.faults import Refused, ServerError, Silence, TemporaryFault
from dmun_audit.knowledge.language_models.over_http.refusals_of_servers import RESUME, refusal
from dmun_audit.knowledge.language_models.over_http.request_format import RequestFormat
from dmun_audit.knowledge.language_models.over_http.shortening import Shortening, next_shortening
from dmun_audit.knowledge.language_models.protocol import Answer, Question, Settings

_LOG = logging.getLogger(__name__)
TRIES = 5
TRIES_UNDER_A_LIMIT = 7  # pauses of 1, 2, 4 … 32 seconds: a limit by the minute has passed
LONGEST_PAUSE = 120.0  # seconds; if a server asks for more, the command ends
TEMPORARY_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_WITH_SCHEMA = 2  # tries with a schema at a server that answers with status 500 each time
MOST_SILENCES = 8  # of one model in one run: it is too slow for its time-out
_FAILS_WITH_SCHEMA = "%s fails when a JSON schema is asked for: from now on the schema stands in the question alone"
_ADAPTATIONS = 40  # of one question's requests; more would be a circle


class Concurrency:
    """How many questions are open at once. A silence halves the number for good; `silences` counts them."""

    def __init__(self, number: int) -> None:
        self.number = max(1, number)
        self.silences = 0
        self._slots = anyio.CapacityLimiter(self.number)

    def open(self) -> None:
        """Make places in the event loop that runs now."""
        self._slots = anyio.CapacityLimiter(self.number)

    @property
    def slot(self) -> anyio.CapacityLimiter:
        """The place of one request, to be held while it is under way."""
        return self._slots

    def halve(self, from_number: int) -> None:
        """Note a silence, and allow half of `from_number`, the number that was open when it began."""
        self.silences += 1
        self.number = min(self.number, max(1, from_number // 2))
        self._slots.total_tokens = self.number


class Client(Protocol):
    """What sends the requests. `accepted` is the format that the server takes, as known so far."""

    endpoint: Endpoint
    accepted: RequestFormat
    concurrency: Concurrency
    fault_notes: FaultNotes
    first_pause: float

    async def send(self, client: httpx.AsyncClient, accepted: RequestFormat, question: Question, max_tokens: int, /) -> Answer:
        """Send one question once. Raises Silence, TemporaryFault, Refused or UsageError."""
        ...


class Trying:
    """The state of one question while it is asked. `errors` of other questions end its retries."""

    def __init__(self, client: Client, question: Question, settings: Settings, errors: Sequence[Exception]) -> None:
        self._client = client
        self._question = question
        self._settings = settings
        self._errors = errors
        self._shortening = Shortening()
        self._tries = 1
        self._silences = 0
        self._broken = 0  # replies of status 500
        self._plainer: str | None = None  # a response format that is tried for this question alone
        self._first_refusal: ServerError | None = None

    async def answer(self, http: httpx.AsyncClient) -> Answer:
        """The answer. Raises UsageError if none can be had."""
        for request in range(_ADAPTATIONS + TRIES_UNDER_A_LIMIT):
            accepted = self._format
            sent_tokens = self._max_tokens(accepted)
            open_at_once = 1
            try:
                async with self._client.concurrency.slot:
                    if request and self._errors:
                        raise self._errors[0]
                    open_at_once = self._client.concurrency.number
                    answer = await self._client.send(http, accepted, self._shortening.apply(self._question), sent_tokens)
            except Silence as silence:
                self._after_silence(silence, sent_tokens, open_at_once)
            except TemporaryFault as fault:
                await self._pause(str(fault), fault.remedy, None, TRIES)
            except Refused as refused:
                found = finding(refused.error.words, refused.error.numbers)
                if found and found.kind == "content filter":
                    return Answer(refused.error.message, end="refusal")
                if found and found.kind == "unreadable":
                    return Answer("")  # no valid answer; the next question has another seed
                await self._after_refusal(refused.error, found, accepted, sent_tokens)
            else:
                self._adopt(accepted)
                return answer
        raise UsageError(
            f"the language model at {self._client.endpoint.url} refuses the question in every form",
            self._first_refusal.reason if self._first_refusal else "",
            f"see the server's message. {RESUME}",
        )

    @property
    def _format(self) -> RequestFormat:
        accepted = self._client.accepted
        return replace(accepted, response_format=self._plainer) if self._plainer else accepted

    def _max_tokens(self, accepted: RequestFormat) -> int:
        limits = (self._settings.max_tokens, self._shortening.max_tokens, accepted.answer_limit, self._question.max_tokens)
        return max(1, min(limit for limit in limits if limit is not None))

    def _adopt(self, worked: RequestFormat) -> None:
        """Ask all later questions in the plainer form that worked where the fuller one failed."""
        if self._plainer and self._client.accepted.response_format != worked.response_format:
            _LOG.info(_FAILS_WITH_SCHEMA, self._client.endpoint.model)
            self._client.accepted = replace(self._client.accepted, response_format=worked.response_format)

    def _after_silence(self, silence: Silence, sent_tokens: int, open_at_once: int) -> None:
        """Prepare the one further try after a silence: fewer questions at once, a shorter answer. Raises UsageError after it."""
        self._silences += 1
        self._client.concurrency.halve(open_at_once)
        silences = self._client.concurrency.silences
        if self._silences > 1 or silences > MOST_SILENCES or self._errors:
            times = "twice for one question" if self._silences > 1 else f"{silences} times in all"
            raise UsageError(
                f"the language model at {self._client.endpoint.url} did not answer",
                f"{silence}, {times}, with {open_at_once} open at once",
                f"see whether the server is up. A slow one needs a longer --timeout, --concurrency=1, or a smaller model. {RESUME}",
            ) from None
        self._shortening = self._shortening.halved(sent_tokens) or self._shortening
        number = self._client.concurrency.number
        _LOG.info("no answer (%s); asking once more, for a shorter answer, %d at once", silence, number)

    async def _after_refusal(self, error: ServerError, found: Finding | None, sent: RequestFormat, sent_tokens: int) -> None:
        """Change the request to what the server accepts, or wait. Raises UsageError if neither helps."""
        kind = found.kind if found else ""
        if error.status in {400, 402, 413, 422, 500} and found and kind in {"prompt", "context", "answer limit"}:
            shorter = next_shortening(self._shortening, self._question, sent_tokens, found)
            if shorter is None:
                raise refusal(self._client.endpoint, error, found)
            _LOG.debug("the question is too long (%s); shortened", error.message)
            self._shortening = shorter
            limit = found.numbers.get("limit")
            if limit and limit == shorter.max_tokens and error.status != 402:  # a limit of the server, whatever the question
                self._client.accepted = replace(self._client.accepted, answer_limit=limit)
        elif kind in {"quota", "key", "no such model", "no images", "https"} or (error.is_page and error.status < 500):
            raise refusal(self._client.endpoint, error, found)
        elif error.status in {400, 422} or (error.status == 500 and kind == "schema"):
            self._adapt(error, found, sent)
        elif error.status in TEMPORARY_STATUS:
            if error.status == 500:
                self._broken += 1
                if self._broken >= _WITH_SCHEMA:
                    self._try_plainer()
            await self._pause(error.reason, "", error.pause, TRIES_UNDER_A_LIMIT if error.status == 429 else TRIES)
        else:
            raise refusal(self._client.endpoint, error, found)

    def _adapt(self, error: ServerError, found: Finding | None, sent: RequestFormat) -> None:
        """Ask in another format: the one that the server's words name, or a plainer one if they name none."""
        self._first_refusal = self._first_refusal or error
        option = next((name for name in self._client.endpoint.options if name.casefold() in error.words), "")
        if option:
            raise refusal(self._client.endpoint, error, found, option)
        if sent != self._format:
            return  # the message to another question has changed it meanwhile
        adapted = self._client.accepted.without_refused_part(error.words, self._question) if not self._plainer else None
        if adapted is not None:
            _LOG.debug("%s refused the request (%s); sending it in another format", self._client.endpoint.model, error.message)
            self._client.accepted = adapted
        elif not self._try_plainer():
            raise refusal(self._client.endpoint, self._first_refusal, found)

    def _try_plainer(self) -> bool:
        """Ask this question in a plainer form. False if there is none."""
        plainer = self._format.plainer()
        self._plainer = plainer.response_format if plainer else self._plainer
        return plainer is not None

    async def _pause(self, reason: str, remedy: str, asked: float | None, tries: int) -> None:
        """Wait before the next try. Raises UsageError if there is none."""
        url = self._client.endpoint.url
        if asked is not None and asked > LONGEST_PAUSE:
            message = f"the language model at {url} asks to wait {asked:.0f} seconds"
            raise UsageError(message, reason, f"try later. {RESUME}")
        if self._tries >= tries or self._errors:
            remedy = remedy or "see whether the server is up and reachable, then repeat"
            raise UsageError(f"the language model at {url} did not answer in {self._tries} tries", reason, f"{remedy}. {RESUME}")
        usual = self._client.first_pause * 2 ** (self._tries - 1) * random.uniform(0.8, 1.2)
        pause = usual if asked is None else max(usual if self._tries > 1 else 0.0, asked)
        self._tries += 1
        self._client.fault_notes.note(reason, tries)
        _LOG.debug("%s: try %d of %d in %.1f seconds", reason, self._tries, tries, pause)
        await anyio.sleep(pause)
