"""Language models over HTTP: chat completions (vLLM, Ollama, llama.cpp, TGI, hosted services) and OpenAI's Responses API.

Each answer is bounded in size and in silence, not in time. What a server does not take is left out, what may pass is tried again;
every other fault ends in one UsageError that says what to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio
import httpx

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.over_http.answer_reading import AnswerReading
from dmun_audit.knowledge.language_models.over_http.background import iterate_in_background
from dmun_audit.knowledge.language_models.over_http.chat_reply import ChatReading
from dmun_audit.knowledge.language_models.over_http.connection_faults import connection_fault
from dmun_audit.knowledge.language_models.over_http.fault_notes import FaultNotes
from dmun_audit.knowledge.language_models.over_http.faults import Refused
from dmun_audit.knowledge.language_models.over_http.patience import Patience
from dmun_audit.knowledge.language_models.over_http.request_format import RequestFormat, chat_body, with_options
from dmun_audit.knowledge.language_models.over_http.responses_api import NO_SEED, ResponsesReading, responses_body
from dmun_audit.knowledge.language_models.over_http.schemas import fits
from dmun_audit.knowledge.language_models.over_http.server_errors import read_error
from dmun_audit.knowledge.language_models.over_http.transport import exchange, open_client
from dmun_audit.knowledge.language_models.over_http.trying import Concurrency, Trying
from dmun_audit.knowledge.language_models.protocol import Answer, Question, Settings
from dmun_audit.knowledge.language_models.secret_values import hider
from dmun_audit.knowledge.words.reasoning import without_reasoning
from dmun_audit.knowledge.words.refusals import is_refusal_in_prose

_LOG = logging.getLogger(__name__)
UNFIT_ANSWERS = 2  # in a row, refusals aside; then the server counts as one that ignores schemas
_SCHEMA_IGNORED = (
    "%s does not keep to the JSON schema: from now on any JSON object is asked for, and the schema stands in the question alone"
)
_JSON_IGNORED = "%s does not answer in JSON: from now on the text of the question alone asks for it"


@dataclass(frozen=True)
class _Api:
    """One protocol: its path, the body of its requests, how its answers are read, and what it accepts from the start."""

    path: str
    body: Callable[[RequestFormat, str, Question, int], dict[str, Any]]
    reading: type[AnswerReading]
    accepted: RequestFormat


_APIS = {
    "chat completions": _Api("/chat/completions", chat_body, ChatReading, RequestFormat()),
    "responses": _Api("/responses", responses_body, ResponsesReading, NO_SEED),
}


class ChatCompletions:
    """The model of one endpoint, whatever its protocol.

    `first_pause` is the pause before the first retry, in seconds; each further one is twice as long.
    """

    def __init__(self, endpoint: Endpoint, settings: Settings, first_pause: float = 1.0) -> None:
        self.backend: str = endpoint.api
        self.url = endpoint.url
        self.model = endpoint.model
        self.endpoint = endpoint
        self.accepted = _APIS[endpoint.api].accepted
        self.hide = hider(endpoint)
        self.first_pause = first_pause
        self._api = _APIS[endpoint.api]
        self._settings = settings
        self.concurrency = Concurrency(settings.concurrency)
        self.fault_notes = FaultNotes()
        self._patience = Patience(settings.timeout)
        self._unfit = 0

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """See `LanguageModel.ask`. At most `settings.concurrency` questions are open at once; Ctrl-C abandons them at once."""
        return iterate_in_background(lambda deliver: self._ask(questions, deliver))

    def release(self) -> None:
        """Do nothing: connections are closed at the end of each `ask`."""

    @property
    def unsupported_parameters(self) -> list[str]:
        """See `LanguageModel.unsupported_parameters`."""
        return self.accepted.unsupported_parameters

    def note_schema_ignored(self) -> None:
        """Take note that the server accepts a schema and does not keep to it: from now on a plainer form is asked for."""
        if self.accepted.response_format == "json_schema":
            self._ask_plainer()

    def _ask_plainer(self) -> None:
        plainer = self.accepted.plainer()
        if plainer is not None:
            of_schema = self.accepted.response_format == "json_schema"
            _LOG.warning(_SCHEMA_IGNORED if of_schema else _JSON_IGNORED, self.model)
            self.accepted = replace(plainer, schema_ignored=self.accepted.schema_ignored or of_schema)
        self._unfit = 0

    async def _ask(self, questions: Sequence[Question], deliver: Callable[[tuple[int, Answer]], None]) -> None:
        """Ask all questions. After the first error no question is begun, but open ones may still bring their answer."""
        waiting = iter(enumerate(questions))
        errors: list[Exception] = []
        self.concurrency.open()

        async def ask_in_turn() -> None:
            for index, question in waiting:
                _LOG.debug("question %d of %d sent to %s", index + 1, len(questions), self.model)
                started = time.monotonic()
                try:
                    answer = await Trying(self, question, self._settings, errors).answer(client)
                    self._note_form(question, answer)
                    deliver((index, answer))
                except Exception as error:  # raised below, once the open questions have ended
                    errors.append(error)
                else:
                    facts = (time.monotonic() - started, answer.tokens_in, answer.tokens_out, answer.end)
                    _LOG.debug("question %d answered in %.1f seconds: %d tokens in, %d out, end %r", index + 1, *facts)
                if errors:
                    return

        headers = {**self.endpoint.key.headers, **self.endpoint.headers}
        async with open_client(headers, self._settings.timeout) as client, anyio.create_task_group() as group:
            for _ in range(max(1, self._settings.concurrency)):
                group.start_soon(ask_in_turn)
        if errors:
            raise errors[0]

    def _note_form(self, question: Question, answer: Answer) -> None:
        """Watch whether answers keep to the form that is asked for."""
        if answer.end != "stop" or not answer.text or self.accepted.response_format == "none":
            return  # an answer that its server could not read is empty, and says nothing of the form
        asked_for = question.schema if self.accepted.response_format == "json_schema" else {"type": "object"}
        if fits(answer.text, asked_for):
            self._unfit = 0
        elif not is_refusal_in_prose(without_reasoning(answer.text)):  # a model that refuses says nothing of the form
            self._unfit += 1
        if self._unfit >= UNFIT_ANSWERS:
            self._ask_plainer()

    async def send(self, client: httpx.AsyncClient, accepted: RequestFormat, question: Question, max_tokens: int) -> Answer:
        """Send one question once. Raises Silence, TemporaryFault, Refused or UsageError."""
        body = with_options(self._api.body(accepted, self.model, question, max_tokens), self.endpoint.options)
        reading = self._api.reading(self.hide, 2 * max_tokens + 1_000)
        try:
            url = f"{self.url}{self._api.path}"
            reply = await exchange(client, url, self.endpoint.query, body, reading, self._patience)
        except httpx.InvalidURL as error:
            raise UsageError(f"{self.url} is no URL", str(error), "give one such as http://localhost:8000/v1") from None
        except httpx.HTTPError as error:
            raise connection_fault(error, self.url, self.hide) from None
        if reply.status != 200:
            raise Refused(read_error(reply.status, reply.headers, reply.body, self.hide))
        if not reply.is_read:
            page = read_error(200, reply.headers, reply.body[:1_000], self.hide)
            if page.is_page:
                raise Refused(page)
            reading.add_whole(reply.body)
        return reading.answer()
