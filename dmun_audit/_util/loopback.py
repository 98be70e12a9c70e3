"""A small web server for this machine alone. No page of another server can ask it: its address holds a secret, and it checks who asks."""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from dmun_audit._util.errors import UsageError

ADDRESS = "127.0.0.1"
HTML = "text/html; charset=utf-8"
_LONGEST_BODY = 1_000  # bytes
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Request:
    """A request from the server's own pages: the path behind the secret, its query, and the JSON object that was sent.

    `posted` tells POST from GET. `body` is None for GET, and for a body that could not be read.
    """

    path: str
    posted: bool = False
    query: dict[str, list[str]] = field(default_factory=dict)
    body: dict[str, str] | None = None


@dataclass(frozen=True)
class Response:
    """What the server answers."""

    content: bytes
    kind: str = HTML
    status: HTTPStatus = HTTPStatus.OK


def message(text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A response with one message, as JSON."""
    return Response(json.dumps({"message": text}).encode(), "application/json", status)


NOT_FOUND = message("this page does not exist", HTTPStatus.NOT_FOUND)


class LoopbackServer:
    """Answers requests with a function until the end of a `with` block. The function may be called by several threads at once.

    Raises UsageError for a port that cannot be opened; 0 takes any free one.
    """

    def __init__(self, answer: Callable[[Request], Response], port: int = 0) -> None:
        self.answer = answer
        self.token = secrets.token_urlsafe(16)
        try:
            self._server = _Server((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(f"port {port} cannot be opened", str(error), "give another --port, or leave it out") from None
        self._server.loopback = self

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address of the first page. It contains the secret."""
        return f"http://{ADDRESS}:{self.port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The allowed host headers. A request with another host comes from a page of another server."""
        return (f"{ADDRESS}:{self.port}", f"localhost:{self.port}")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    loopback: LoopbackServer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        path = self._path()
        if path is not None:
            parts = urlsplit(path)
            self._send(self.server.loopback.answer(Request(parts.path, query=parse_qs(parts.query))))

    def do_POST(self) -> None:
        path = self._path()
        if path is not None:
            self._send(self.server.loopback.answer(Request(path, posted=True, body=self._body())))

    def log_message(self, *_: Any) -> None:
        """Print nothing: the terminal shows messages for the person only."""

    def _path(self) -> str | None:
        """The path after the secret; None if the request was refused."""
        loopback, origin = self.server.loopback, self.headers.get("Origin")
        own = [f"http://{host}" for host in loopback.hosts]
        if self.headers.get("Host") not in loopback.hosts or (origin is not None and origin not in own):
            self._send(message("this server answers requests from its own page only", HTTPStatus.FORBIDDEN))
            return None
        token, _, rest = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), loopback.token.encode()):
            self._send(NOT_FOUND)
            return None
        return rest

    def _body(self) -> dict[str, str] | None:
        """The JSON object of the request, or None. A form on a foreign page cannot send this content type without asking first."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json" or not length.isdecimal() or int(length) > _LONGEST_BODY:
            return None
        try:
            fields = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError, OSError):
            return None
        valid = isinstance(fields, dict) and all(isinstance(value, str) for value in fields.values())
        return fields if valid else None

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in {"Content-Type": response.kind, "Content-Length": str(len(response.content)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.content)
