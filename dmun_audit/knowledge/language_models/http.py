"""OpenAI-compatible chat completions over httpx: vLLM, Ollama, llama.cpp, TGI and hosted services.

The protocol: https://platform.openai.com/docs/api-reference/chat. Each answer is bounded in time and size. Temporary faults are
retried; every other fault ends in one UsageError that says what to do.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence

import anyio
import httpx

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.api_key import VARIABLES
from dmun_audit.knowledge.language_models.background import iterate_in_background
from dmun_audit.knowledge.language_models.chat_reply import (
    MAXIMUM_BODY_BYTES,
    TemporaryFault,
    decompressed,
    error_message,
    one_line,
    read_answer,
    retry_after,
)
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.protocol import Answer, Question, Settings
from dmun_audit.knowledge.language_models.request_format import RequestFormat

_LOG = logging.getLogger(__name__)
TRIES = 5
LONGEST_PAUSE = 120.0  # seconds; if a server asks for more, the command ends
TEMPORARY_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_RESUME = "Answers so far are kept: the same command goes on from there."
_REMEDIES = {
    401: f"put a valid key into {VARIABLES[0]} (or {VARIABLES[1]})",
    403: f"put a key that may use this model into {VARIABLES[0]} (or {VARIABLES[1]})",
    404: "check the URL (it ends before /chat/completions, often in /v1) and the model's name",
    413: "use a model with a longer context",
}


class ChatCompletions:
    """The model of one endpoint.

    `first_pause` is the pause before the first retry, in seconds; each further one is twice as long.
    """

    backend = "chat completions"

    def __init__(self, endpoint: Endpoint, settings: Settings, first_pause: float = 1.0) -> None:
        self.url = endpoint.url
        self.model = endpoint.model
        self.endpoint = endpoint
        self._settings = settings
        self._first_pause = first_pause
        self._key = endpoint.key
        self._format = RequestFormat(token_limit=settings.max_tokens or 2**20)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """See `LanguageModel.ask`. At most `settings.concurrency` questions are open at once; Ctrl-C abandons them at once."""
        return iterate_in_background(lambda deliver: self._ask(questions, deliver))

    def release(self) -> None:
        """Do nothing: connections are closed at the end of each `ask`."""

    @property
    def unsupported_parameters(self) -> list[str]:
        """See `LanguageModel.unsupported_parameters`."""
        return self._format.unsupported_parameters

    async def _ask(self, questions: Sequence[Question], deliver: Callable[[tuple[int, Answer]], None]) -> None:
        """Ask all questions. After the first error no question is begun, but open ones may still bring their answer."""
        waiting = iter(enumerate(questions))
        errors: list[Exception] = []

        async def ask_in_turn() -> None:
            for index, question in waiting:
                _LOG.debug("question %d of %d sent to %s", index + 1, len(questions), self.model)
                started = time.monotonic()
                try:
                    answer = await self._answer(client, question, errors)
                    deliver((index, answer))
                except Exception as error:  # raised below, once the open questions have ended
                    errors.append(error)
                else:
                    facts = (time.monotonic() - started, answer.tokens_in, answer.tokens_out, answer.end)
                    _LOG.debug("question %d answered in %.1f seconds: %d tokens in, %d out, end %r", index + 1, *facts)
                if errors:
                    return

        async with self._client() as client, anyio.create_task_group() as group:
            for _ in range(max(1, self._settings.concurrency)):
                group.start_soon(ask_in_turn)
        if errors:
            raise errors[0]

    def _client(self) -> httpx.AsyncClient:
        seconds = self._settings.timeout
        headers = {"User-Agent": "dmun_audit", "Accept-Encoding": "identity", **self.endpoint.headers, **self._key.headers}
        try:
            timeout = httpx.Timeout(seconds, connect=min(10.0, seconds), pool=None)
            return httpx.AsyncClient(timeout=timeout, headers=headers, params=dict(self.endpoint.query))
        except OSError as error:
            remedy = "correct SSL_CERT_FILE and SSL_CERT_DIR"
            raise UsageError("the certificates in the environment cannot be read", str(error), remedy) from None
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            remedy = "correct ALL_PROXY, HTTP_PROXY and HTTPS_PROXY"
            raise UsageError("the proxy in the environment cannot be used", str(error), remedy) from None

    async def _answer(self, client: httpx.AsyncClient, question: Question, errors: Sequence[Exception]) -> Answer:
        """The answer to one question, after retries if need be. `errors` of other questions end the retries."""
        attempt = 1
        while True:
            try:
                return await self._send(client, question)
            except TemporaryFault as fault:
                if attempt == TRIES or errors or fault.retry_after > LONGEST_PAUSE:
                    raise self._no_answer(fault) from None
                pause = max(self._first_pause * 2 ** (attempt - 1) * random.uniform(0.8, 1.2), fault.retry_after)
                attempt += 1
                _LOG.info("no answer (%s); try %d of %d in %.1f seconds", fault, attempt, TRIES, pause)
                await anyio.sleep(pause)

    async def _send(self, client: httpx.AsyncClient, question: Question) -> Answer:
        """Send one question until the server accepts its format. Raises TemporaryFault for a fault that may pass."""
        while True:
            request_format = self._format
            response, body = await self._post(client, {**request_format.body(self.model, question), **self.endpoint.options})
            if response.status_code == 200:
                return read_answer(body, self._key.hide)
            message = error_message(body, self._key.hide)
            reason = f"status {response.status_code}" + (f": {message}" if message else "")
            if response.status_code in TEMPORARY_STATUS:
                raise TemporaryFault(reason, retry_after(response.headers.get("Retry-After")))
            if response.status_code not in {400, 422} or not self._adapt(request_format, message, question):
                raise self._refused(response, reason)

    async def _post(self, client: httpx.AsyncClient, request: dict[str, object]) -> tuple[httpx.Response, bytes]:
        """The response to a request and its body, which ends a little beyond MAXIMUM_BODY_BYTES."""
        received = bytearray()
        try:
            with anyio.fail_after(self._settings.timeout):
                async with client.stream("POST", f"{self.url}/chat/completions", json=request) as response:
                    async for part in response.aiter_raw():
                        received += part
                        if len(received) > MAXIMUM_BODY_BYTES:
                            break
        except (TimeoutError, httpx.TimeoutException):
            raise TemporaryFault(f"no whole answer within {self._settings.timeout:g} seconds") from None
        except httpx.InvalidURL as error:
            raise UsageError(f"{self.url} is no URL", str(error), "give one such as http://localhost:8000/v1") from None
        except httpx.HTTPError as error:
            raise TemporaryFault(self._key.hide(f"{type(error).__name__}: {error}")) from None
        return response, decompressed(bytes(received), response.headers.get("Content-Encoding", ""))

    def _adapt(self, refused: RequestFormat, message: str, question: Question) -> bool:
        """Change the request format to what the server's message asks for. False if the message asks for no change we know."""
        if refused != self._format:
            return True  # the message to another question has changed it meanwhile
        accepted = refused.with_shorter_answers(message, question) or refused.without_refused_parameter(message)
        if accepted is not None:
            _LOG.debug("%s refused the request (%s); sending it in another format", self.model, message)
            self._format = accepted
        return accepted is not None

    def _no_answer(self, fault: TemporaryFault) -> UsageError:
        if fault.retry_after > LONGEST_PAUSE:
            message = f"the language model at {self.url} asks to wait {fault.retry_after:.0f} seconds"
            return UsageError(message, str(fault), f"try later. {_RESUME}")
        return UsageError(
            f"the language model at {self.url} did not answer in {TRIES} tries",
            str(fault),
            f"see whether the server is up and reachable (a slow one needs a longer --timeout), then repeat. {_RESUME}",
        )

    def _refused(self, response: httpx.Response, reason: str) -> UsageError:
        remedy = _REMEDIES.get(response.status_code, "see the server's message")
        if 300 <= response.status_code < 400:
            location = one_line(self._key.hide(response.headers.get("Location", "nowhere")))
            reason = f"{reason}; it points to {location}"
            remedy = "give the URL of the server itself: redirects are not followed, because they could leak the key"
        return UsageError(f"the language model at {self.url} refused the question", reason, f"{remedy}. {_RESUME}")
