"""One request over HTTP and the reply, read as it arrives. Its length is bounded in bytes, its silences in seconds."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from httpx_sse import EventSource

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.over_http.answer_reading import MAXIMUM_BODY_BYTES, AnswerReading
from dmun_audit.knowledge.language_models.over_http.faults import Silence, TemporaryFault
from dmun_audit.knowledge.language_models.over_http.patience import Patience, Wait

MAXIMUM_STREAM_BYTES = 16_000_000  # each token of an answer comes in some hundred bytes of its own
IDLE_CONNECTION = 2.0  # seconds after which a connection is not used again; llama.cpp and uvicorn close theirs after 5
_STREAM_TYPE = "text/event-stream"
_STREAM_STARTS = (b"data:", b"event:", b": ")


@dataclass(frozen=True)
class Reply:
    """A response without the stream that was read from it. `body` ends a little beyond MAXIMUM_BODY_BYTES."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_read: bool  # whether the body was a stream, which is read already


def open_client(headers: Mapping[str, str], timeout: float) -> httpx.AsyncClient:
    """A client that connects within `timeout` seconds; whoever uses it bounds its silences. Raises UsageError if the certificates
    or the proxy in the environment cannot be used."""
    sent = httpx.Headers({"User-Agent": "dmun_audit", "Accept-Encoding": "identity"})
    sent.update(headers)
    try:
        limits = httpx.Limits(keepalive_expiry=IDLE_CONNECTION)
        return httpx.AsyncClient(timeout=httpx.Timeout(None, connect=min(10.0, 0.9 * timeout)), headers=sent, limits=limits)
    except OSError as error:
        remedy = "correct SSL_CERT_FILE and SSL_CERT_DIR"
        raise UsageError("the certificates in the environment cannot be read", str(error), remedy) from None
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        remedy = "correct ALL_PROXY, HTTP_PROXY and HTTPS_PROXY"
        raise UsageError("the proxy in the environment cannot be used", str(error), remedy) from None


async def exchange(
    client: httpx.AsyncClient,
    url: str,
    query: Mapping[str, str],
    body: dict[str, Any],
    reading: AnswerReading,
    patience: Patience,
) -> Reply:
    """Send a request. A stream is put into `reading` event by event, and ends once the answer is complete.

    Raises Silence, httpx.HTTPError for faults of the connection, and what `reading` raises.
    """
    try:
        with patience.waiting() as wait:
            async with client.stream("POST", url, params=dict(query) or None, json=body) as response:
                if response.status_code != 200 or _STREAM_TYPE not in response.headers.get("Content-Type", ""):
                    received = await _whole(response, wait)
                    patience.part_came()
                    is_stream = response.status_code == 200 and received.lstrip()[:6].startswith(_STREAM_STARTS)
                    if is_stream and len(received) <= MAXIMUM_BODY_BYTES:
                        _read_whole_stream(received, reading)
                    return Reply(response.status_code, response.headers, received, is_stream)
                async for data in _events(response, reading, wait):
                    if not reading.is_done:
                        reading.add_event(data)
                        patience.part_came()
                    if reading.is_given_up:
                        break
                    if reading.is_done:
                        wait.end_soon()  # what is left of the response is read, so that the connection can carry the next question
    except (Silence, httpx.TransportError):
        if not reading.is_complete:  # else the answer itself has come whole
            raise
    return Reply(200, {}, b"", True)


async def _whole(response: httpx.Response, wait: Wait) -> bytes:
    received = bytearray()
    async for part in response.aiter_raw():
        wait.bytes_came()
        received += part
        if len(received) > MAXIMUM_BODY_BYTES:
            break
    inflate = _Inflater(response.headers.get("Content-Encoding", ""), MAXIMUM_BODY_BYTES)
    return inflate(bytes(received))


async def _events(response: httpx.Response, reading: AnswerReading, wait: Wait) -> AsyncIterator[str]:
    """The data of each event of a stream, until it is too large."""
    stream = _BoundedStream(response, wait)
    source = EventSource(httpx.Response(200, headers={"Content-Type": _STREAM_TYPE}, stream=stream))
    async for event in source.aiter_sse():
        if event.data:
            yield event.data
    if stream.size > MAXIMUM_STREAM_BYTES:
        reading.set_too_large()


def _read_whole_stream(received: bytes, reading: AnswerReading) -> None:
    """Read a stream that a server declared to be something else."""
    for event in EventSource(httpx.Response(200, headers={"Content-Type": _STREAM_TYPE}, content=received)).iter_sse():
        if event.data and not reading.is_done:
            reading.add_event(event.data)


class _BoundedStream(httpx.AsyncByteStream):
    """The bytes of a response without their compression, until they are too many."""

    def __init__(self, response: httpx.Response, wait: Wait) -> None:
        self._response = response
        self._wait = wait
        self._inflate = _Inflater(response.headers.get("Content-Encoding", ""), MAXIMUM_STREAM_BYTES)
        self.size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_raw():
            self._wait.bytes_came()
            data = self._inflate(part)
            self.size += len(data)
            if self.size > MAXIMUM_STREAM_BYTES:
                return
            if data:
                yield data


class _Inflater:
    """Takes the compression from bytes that come in parts. Each part gives at most one byte more than `most`.

    Raises UsageError for an encoding other than gzip and deflate, TemporaryFault for damaged data.
    """

    def __init__(self, encoding: str, most: int) -> None:
        name = encoding.strip().casefold()
        if name not in {"", "identity", "gzip", "deflate"}:
            raise UsageError(
                f"the language model's server sends its answers as {encoding[:40]!r}",
                "the request asks for answers without compression",
                "configure the server to send them so",
            )
        self._most = most
        self._inflate = zlib.decompressobj(47) if name in {"gzip", "deflate"} else None

    def __call__(self, part: bytes) -> bytes:
        try:
            return self._inflate.decompress(part, self._most + 1) if self._inflate else part
        except zlib.error as error:
            raise TemporaryFault(f"the server's reply is damaged: {error}") from None
