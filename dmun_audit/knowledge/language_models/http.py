"""OpenAI-compatible chat completions over httpx: vLLM, Ollama, llama.cpp, TGI and hosted services alike.

The protocol: https://platform.openai.com/docs/api-reference/chat. A server may fail in any way it likes: what comes back is
bounded in time and size, faults that may pass are retried, and all others end in one error that says what to do.
"""

from __future__ import annotations

import base64
import json
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from dmun_audit.errors import UsageError
from dmun_audit.knowledge.language_models.protocol import MAXIMUM_ANSWER_BYTES, Answer, Message, Question
from dmun_audit.knowledge.language_models.reference import Settings

TRIES = 5
LONGEST_PAUSE = 120.0  # seconds; a server that asks for more is left alone
MAXIMUM_BODY_BYTES = 4 * MAXIMUM_ANSWER_BYTES
KEYS = ("DMUN_LLM_API_KEY", "OPENAI_API_KEY")
PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_FORMATS = ("json_schema", "json_object", "none")
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
        self._key = next((os.environ[name] for name in KEYS if os.environ.get(name)), "")
        self._client: httpx.Client | None = None
        self._stop = threading.Event()
        self._adapting = threading.Lock()
        self._format = 0
        self._length_key = "max_tokens"
        self._unwanted: set[str] = set()

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """See `LanguageModel.ask`: at most `concurrency` questions are under way at once."""
        self._stop.clear()
        pool = ThreadPoolExecutor(max(1, self._settings.concurrency), thread_name_prefix="dmun-llm")
        running: dict[Future[Answer], int] = {pool.submit(self._answer, question): i for i, question in enumerate(questions)}
        fault: BaseException | None = None
        try:
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    place = running.pop(future)
                    error = None if future.cancelled() else future.exception()
                    if error is not None and fault is None:
                        fault = error
                        self._stop.set()  # nothing new is begun; what is under way may still bring an answer
                        for waiting in running:
                            waiting.cancel()
                    elif error is None and not future.cancelled():
                        yield place, future.result()
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        if fault is not None:
            raise fault

    def release(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # One question.

    def _answer(self, question: Question) -> Answer:
        tries = 0
        while True:
            if self._stop.is_set():
                raise UsageError("the question was not asked", "another one failed before it", _KEPT)
            try:
                return self._send(question)
            except _Adapted:
                continue
            except _Passing as fault:
                tries += 1
                self._wait_or_give_up(tries, fault)

    def _wait_or_give_up(self, tries: int, fault: _Passing) -> None:
        pause = self._pause * 2 ** (tries - 1) * random.uniform(0.8, 1.2)
        if fault.pause is not None and fault.pause > LONGEST_PAUSE:
            raise UsageError(
                f"the language model at {self.url} asks to wait {fault.pause:.0f} seconds", str(fault), f"try later. {_KEPT}"
            )
        if tries >= TRIES:
            raise UsageError(
                f"the language model at {self.url} did not answer in {TRIES} tries",
                str(fault),
                f"see whether the server is up and reachable, then repeat. {_KEPT}",
            )
        self._stop.wait(max(pause, fault.pause or 0.0))

    def _send(self, question: Question) -> Answer:
        form, length_key, unwanted = self._format, self._length_key, frozenset(self._unwanted)
        body = self._body(question, form, length_key, unwanted)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        deadline = time.monotonic() + self._settings.timeout
        received = bytearray()
        try:
            with self._connection().stream("POST", f"{self.url}/chat/completions", json=body, headers=headers) as response:
                for part in response.iter_bytes():
                    received += part
                    if len(received) > MAXIMUM_BODY_BYTES:
                        break
                    if time.monotonic() > deadline:
                        raise _Passing(f"no whole answer within {self._settings.timeout:g} seconds")
        except httpx.TimeoutException:
            raise _Passing(f"no answer within {self._settings.timeout:g} seconds") from None
        except httpx.InvalidURL as error:
            raise UsageError(f"{self.url} is no URL", str(error), "give one such as http://localhost:8000/v1") from None
        except httpx.HTTPError as error:
            raise _Passing(self._hidden(f"{type(error).__name__}: {error}")) from None
        if response.status_code != 200:
            self._refused(response, bytes(received), (form, length_key, unwanted))
        if len(received) > MAXIMUM_BODY_BYTES:
            return Answer("", end="too large")
        return self._read(bytes(received))

    def _connection(self) -> httpx.Client:
        with self._adapting:
            if self._client is None:
                wait_for = httpx.Timeout(self._settings.timeout, connect=min(10.0, self._settings.timeout), pool=None)
                self._client = httpx.Client(timeout=wait_for, headers={"User-Agent": "dmun_audit"})
            return self._client

    def _body(self, question: Question, form: int, length_key: str, unwanted: frozenset[str]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_turn(message) for message in question.messages],
            "temperature": question.temperature,
            "seed": question.seed,
            length_key: question.max_tokens,
        }
        if _FORMATS[form] == "json_schema":
            named = {"name": "answer", "schema": question.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif _FORMATS[form] == "json_object":
            body["response_format"] = {"type": "json_object"}
        return {name: value for name, value in body.items() if name not in unwanted}

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
            text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
            refusal = str(message.get("refusal") or "")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            shown = self._hidden(received[:120].decode("utf-8", "replace"))
            raise _Passing(f"the server's reply is no chat completion: {shown!r}") from None
        if refusal or choice.get("finish_reason") == "content_filter":
            return Answer(refusal or text, tokens_in, tokens_out, "refusal")
        if len(text.encode()) > MAXIMUM_ANSWER_BYTES:
            return Answer("", tokens_in, tokens_out, "too large")
        return Answer(text, tokens_in, tokens_out, "length" if choice.get("finish_reason") == "length" else "stop")

    def _refused(self, response: httpx.Response, received: bytes, sent: tuple[int, str, frozenset[str]]) -> None:
        """Raise what a status other than 200 means."""
        status, told = response.status_code, self._hidden(_message(received))
        why = f"status {status}" + (f": {told}" if told else "")
        if status in PASSING:
            raise _Passing(why, _retry_after(response.headers.get("Retry-After")))
        if status in {400, 422} and self._adapt(told, sent):
            raise _Adapted
        remedies = {
            401: f"put a valid key into {KEYS[0]} (or {KEYS[1]})",
            403: f"put a key that may use this model into {KEYS[0]} (or {KEYS[1]})",
            404: "check the URL (it ends before /chat/completions, often in /v1) and the model's name",
            413: "use a model with a longer context",
        }
        if 300 <= status < 400:
            why += f"; it points to {response.headers.get('Location', 'nowhere')}"
            remedies[status] = "give the URL where the server really is: redirects are not followed, the key might go astray"
        raise UsageError(
            f"the language model at {self.url} refused the question", why, f"{remedies.get(status, 'see what it says')}. {_KEPT}"
        )

    def _adapt(self, told: str, sent: tuple[int, str, frozenset[str]]) -> bool:
        """Change the request to what an older or stricter server takes; False where its complaint is about something else."""
        with self._adapting:
            if sent != (self._format, self._length_key, frozenset(self._unwanted)):
                return True  # another question has already brought the change
            if "max_completion_tokens" in told and self._length_key == "max_tokens":
                self._length_key = "max_completion_tokens"
                return True
            for name in ("seed", "temperature"):
                if name in told.casefold() and name not in self._unwanted:
                    self._unwanted.add(name)
                    return True
            about_format = any(word in told.casefold() for word in ("response_format", "schema", "json", "strict", "grammar"))
            if about_format and self._format < len(_FORMATS) - 1:
                self._format += 1
                return True
            return False

    @property
    def concessions(self) -> list[str]:
        """What the server made us leave out, in whole sentences, for the provenance."""
        found = [f"The server does not take the parameter {name}." for name in sorted(self._unwanted)]
        if self._format:
            found.append("The server does not take response_format json_schema; answers were validated here alone.")
        return found

    def _hidden(self, text: str) -> str:
        """`text` without the key, should a server or library have put it there."""
        return text.replace(self._key, "[key]") if self._key else text


def _turn(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    pictures = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(image).decode()}}
        for image in message.images
    ]
    return {"role": message.role, "content": [*pictures, {"type": "text", "text": message.text}]}


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
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300].strip()


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header: a number or an HTTP date (RFC 9110, §10.2.3)."""
    if not value:
        return None
    try:
        return max(0.0, float(value)) if float(value) < 1e9 else 1e9
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
