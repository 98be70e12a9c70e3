"""OpenAI-compatible chat completions over httpx: vLLM, Ollama, llama.cpp, TGI and hosted services alike.

The protocol: https://platform.openai.com/docs/api-reference/chat. A server may fail in any way it likes: what comes back is
bounded in time and size, faults that may pass are retried, and all others end in one error that says what to do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.background import as_they_come
from dmun_audit.knowledge.language_models.protocol import MAXIMUM_ANSWER_BYTES, Answer, Question, Settings
from dmun_audit.knowledge.language_models.request_format import RequestFormat

_LOG = logging.getLogger(__name__)
TRIES = 5
LONGEST_PAUSE = 120.0  # seconds; a server that asks for more is left alone
MAXIMUM_BODY_BYTES = 4 * MAXIMUM_ANSWER_BYTES
KEYS = ("DMUN_LLM_API_KEY", "OPENAI_API_KEY")
PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_ESCAPED = re.compile(r"\\u00([2-7][0-9a-fA-F])")  # a letter that JSON need not escape
_SHORTEST_SECRET = 8  # letters; shorter keys are words such as "none" for servers that want any
_KEPT = "Answers so far are kept: the same command goes on from there."


class _Passing(Exception):
    """A fault that may pass. `pause` is how long the server asks to wait, in seconds."""

    def __init__(self, why: str, pause: float | None = None) -> None:
        super().__init__(why)
        self.pause = pause


class _Adapted(Exception):
    """The server does not take a parameter; the request has been changed and can be sent again."""


class ChatCompletions:
    """One model behind a URL that ends before `/chat/completions`. `pause` is the first wait between tries, in seconds."""

    backend = "chat completions"

    def __init__(self, url: str, model: str, settings: Settings, pause: float = 1.0) -> None:
        self.url = url
        self.model = model
        self._settings = settings
        self._pause = pause
        self._key = _key()
        self._dialect = RequestFormat()

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """See `LanguageModel.ask`: at most `concurrency` questions are under way at once; Ctrl-C gives them up at once."""
        return as_they_come(lambda arrived: self._ask(questions, arrived))

    def release(self) -> None:
        """Nothing to do: connections last as long as the questions of one `ask`."""

    @property
    def unsupported_parameters(self) -> list[str]:
        """What the server made us leave out, in whole sentences, for the provenance."""
        return self._dialect.unsupported_parameters

    async def _ask(self, questions: Sequence[Question], arrived: Callable[[tuple[int, Answer]], None]) -> None:
        """Put all questions. Once one has failed no other is begun, but those under way may still bring their answer."""
        faults: list[Exception] = []
        places = asyncio.Semaphore(max(1, self._settings.concurrency))
        wait_for = httpx.Timeout(self._settings.timeout, connect=min(10.0, self._settings.timeout), pool=None)
        try:
            connections = httpx.AsyncClient(timeout=wait_for, headers={"User-Agent": "dmun_audit"})
        except OSError as error:
            wrong = "set SSL_CERT_FILE and SSL_CERT_DIR right"
            raise UsageError("the certificates in the environment cannot be read", str(error), wrong) from None
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise UsageError(
                "the proxy in the environment cannot be used", str(error), "set ALL_PROXY and its like right"
            ) from None
        async with connections as client:

            async def put(place: int, question: Question) -> None:
                async with places:
                    if faults:
                        return
                    try:
                        answer = await self._answer(client, question, faults)
                    except Exception as error:  # whatever it is, it ends the others too and is raised after them
                        faults.append(error)
                    else:
                        arrived((place, answer))

            async with asyncio.TaskGroup() as group:
                for place, question in enumerate(questions):
                    group.create_task(put(place, question))
        if faults:
            raise faults[0]

    # One question.

    async def _answer(self, client: httpx.AsyncClient, question: Question, faults: list[Exception]) -> Answer:
        tries = 0
        while True:
            try:
                return await self._send(client, question)
            except _Adapted:
                continue
            except _Passing as fault:
                tries += 1
                if faults:
                    raise UsageError("the question was not asked again", "another one failed before it", _KEPT) from None
                pause = self._pause_after(tries, fault)
                _LOG.info("no answer (%s); try %d of %d in %.1f seconds", fault, tries + 1, TRIES, pause)
                await asyncio.sleep(pause)

    def _pause_after(self, tries: int, fault: _Passing) -> float:
        """Seconds to wait before the next try. Raises UsageError where there is to be none."""
        if fault.pause is not None and fault.pause > LONGEST_PAUSE:
            raise UsageError(
                f"the language model at {self.url} asks to wait {fault.pause:.0f} seconds", str(fault), f"try later. {_KEPT}"
            )
        if tries >= TRIES:
            raise UsageError(
                f"the language model at {self.url} did not answer in {TRIES} tries",
                str(fault),
                f"see whether the server is up and reachable (a slow one needs a longer --timeout), then repeat. {_KEPT}",
            )
        return max(self._pause * 2 ** (tries - 1) * random.uniform(0.8, 1.2), fault.pause or 0.0)

    async def _send(self, client: httpx.AsyncClient, question: Question) -> Answer:
        request_format = self._dialect
        request = request_format.body(self.model, question)
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        received = bytearray()
        try:
            async with (
                asyncio.timeout(self._settings.timeout),
                client.stream("POST", f"{self.url}/chat/completions", json=request, headers=headers) as response,
            ):
                async for part in response.aiter_raw():
                    received += part
                    if len(received) > MAXIMUM_BODY_BYTES:
                        break
        except (TimeoutError, httpx.TimeoutException):
            raise _Passing(f"no whole answer within {self._settings.timeout:g} seconds") from None
        except httpx.InvalidURL as error:
            raise UsageError(f"{self.url} is no URL", str(error), "give one such as http://localhost:8000/v1") from None
        except httpx.HTTPError as error:
            raise _Passing(self._hidden(f"{type(error).__name__}: {error}")) from None
        body = _plain(bytes(received), response.headers.get("Content-Encoding", ""))
        if response.status_code != 200:
            self._refused(response, body, request_format, question)
        if len(body) > MAXIMUM_BODY_BYTES:
            return Answer("", end="too large")
        return self._read(body)

    # What came back.

    def _read(self, received: bytes) -> Answer:
        try:
            reply = json.loads(received)
            choice = reply["choices"][0]
            message = choice["message"]
            usage = reply.get("usage") or {}
            tokens_in, tokens_out = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
            text = message.get("content") or ""
            text = text if isinstance(text, str) else "".join(part.get("text") or "" for part in text)
            text = self._hidden(text.encode("utf-8", "replace").decode())  # half a surrogate pair is no text
            plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
            text = self._hidden(plain) if self._hidden(plain) != plain else text
            refusal = self._hidden(str(message.get("refusal") or ""))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            shown = self._hidden(received[:120].decode("utf-8", "replace"))
            raise _Passing(f"the server's reply is no chat completion: {shown!r}") from None
        if refusal or choice.get("finish_reason") == "content_filter":
            return Answer(refusal or text, tokens_in, tokens_out, "refusal")
        if len(text.encode()) > MAXIMUM_ANSWER_BYTES:
            return Answer("", tokens_in, tokens_out, "too large")
        return Answer(text, tokens_in, tokens_out, "length" if choice.get("finish_reason") == "length" else "stop")

    def _refused(self, response: httpx.Response, received: bytes, sent: RequestFormat, question: Question) -> None:
        """Raise what a status other than 200 means."""
        status, told = response.status_code, self._hidden(_message(received))
        why = f"status {status}" + (f": {told}" if told else "")
        if status in PASSING:
            raise _Passing(why, _retry_after(response.headers.get("Retry-After")))
        if status in {400, 422}:
            if sent != self._dialect:
                raise _Adapted  # another question has already brought a change
            if plainer := sent.shorter(told, question) or sent.without(told):
                self._dialect = plainer
                raise _Adapted
        remedies = {
            401: f"put a valid key into {KEYS[0]} (or {KEYS[1]})",
            403: f"put a key that may use this model into {KEYS[0]} (or {KEYS[1]})",
            404: "check the URL (it ends before /chat/completions, often in /v1) and the model's name",
            413: "use a model with a longer context",
        }
        if 300 <= status < 400:
            why += "; it points to " + self._hidden(_printable(response.headers.get("Location", "nowhere")))
            remedies[status] = "give the URL where the server really is: redirects are not followed, the key might go astray"
        raise UsageError(
            f"the language model at {self.url} refused the question", why, f"{remedies.get(status, 'see what it says')}. {_KEPT}"
        )

    def _hidden(self, text: str) -> str:
        """`text` without the key, should a server or library have put it there."""
        return text.replace(self._key, "[key]") if len(self._key) >= _SHORTEST_SECRET else text


def _key() -> str:
    """The key from the environment, or "". Raises UsageError where it cannot be sent; the message does not hold it."""
    name = next((name for name in KEYS if os.environ.get(name, "").strip()), "")
    key = os.environ.get(name, "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(f"the key in {name} is no key", "it holds characters that no header can carry", "set it again")
    return key


def _plain(received: bytes, encoding: str) -> bytes:
    """A body without compression, which was not asked for; cut off a byte beyond what is read of any."""
    if encoding.strip().casefold() in {"", "identity"}:
        return received
    if encoding.strip().casefold() not in {"gzip", "deflate"}:
        raise UsageError(
            f"the language model's server sends its answers as {encoding[:40]!r}", "plain ones were asked for", "tell it to"
        )
    try:
        return zlib.decompressobj(47).decompress(received, MAXIMUM_BODY_BYTES + 1)
    except zlib.error as error:
        raise _Passing(f"the server's reply is damaged: {error}") from None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0


def _message(received: bytes) -> str:
    """What an error body says, on one line of at most 300 characters."""
    text = received[:20_000].decode("utf-8", "replace")
    try:
        value = json.loads(text)
        error = value.get("error", value.get("detail", value.get("message", value)))
        told = error.get("message", error) if isinstance(error, dict) else error
        text = told if isinstance(told, str) else json.dumps(told)
    except (ValueError, AttributeError, RecursionError):
        pass
    return _printable(text)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300].strip()


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header: a number or an HTTP date (RFC 9110, §10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), 1e9)
