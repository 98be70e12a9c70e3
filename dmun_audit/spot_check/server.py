"""Asks in the browser: a small server for this machine alone, with one page. It saves every answer at once."""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.spot_check.labeling_session import LabelingSession
from dmun_audit.spot_check.labels import ANSWERS

ADDRESS = "127.0.0.1"
_LONGEST_BODY = 1_000  # bytes
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Page = Callable[[list[dict[str, Any]]], str]
"""A function that renders the page from the images in order, each with an opaque `id` and its `answer` or None."""


class LabelingServer:
    """Serves one session until the person ends it. A context manager. `url` contains a secret that no other page can guess."""

    def __init__(self, session: LabelingSession, page: Page, port: int = 0) -> None:
        self.session = session
        self.page = page
        self.token = secrets.token_urlsafe(16)
        self.keys = {secrets.token_hex(8): key for key in session.order}
        self.ended = threading.Event()
        self.writing = threading.Lock()
        try:
            self._server = _Server((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(f"port {port} cannot be opened", str(error), "give another --port, or leave it out") from None
        self._server.labeling = self

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The allowed host headers. A request with another host comes from a page of another server."""
        return (f"{ADDRESS}:{self.port}", f"localhost:{self.port}")

    def images(self) -> list[dict[str, Any]]:
        """The images for the page, without their keys."""
        return [{"id": opaque, "answer": self.session.answers.get(key)} for opaque, key in self.keys.items()]

    def __enter__(self) -> LabelingServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    labeling: LabelingServer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        labeling, path = self.server.labeling, self._path()
        if path is None:
            return
        if path == "":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", labeling.page(labeling.images()).encode())
        elif path.startswith("image/") and (key := labeling.keys.get(path.removeprefix("image/"))):
            try:
                self._send(HTTPStatus.OK, "image/png", labeling.session.png(key))
            except StoreError as error:
                self._send_message(HTTPStatus.INTERNAL_SERVER_ERROR, error.what)
        else:
            self._send_message(HTTPStatus.NOT_FOUND, "this page does not exist")

    def do_POST(self) -> None:
        labeling, path = self.server.labeling, self._path()
        if path is None:
            return
        body = self._body()
        if body is None:
            self._send_message(HTTPStatus.BAD_REQUEST, "the answer could not be read")
        elif path == "end":
            self._send_message(HTTPStatus.OK, "")
            labeling.ended.set()
        elif path == "answer" and body.get("image") in labeling.keys and body.get("answer") in ANSWERS:
            try:
                with labeling.writing:
                    labeling.session.answer(labeling.keys[body["image"]], body["answer"])
            except StoreError as error:
                self._send_message(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error.what}: {error.why}")
            else:
                self._send_message(HTTPStatus.OK, "")
        else:
            self._send_message(HTTPStatus.BAD_REQUEST, "the answer could not be read")

    def log_message(self, *_: Any) -> None:
        """Print nothing: the terminal shows messages for the person only."""

    def _path(self) -> str | None:
        """The path after the token; None if the request was refused."""
        labeling = self.server.labeling
        origin = self.headers.get("Origin")
        own = [f"http://{host}" for host in labeling.hosts]
        if self.headers.get("Host") not in labeling.hosts or (origin is not None and origin not in own):
            self._send_message(HTTPStatus.FORBIDDEN, "this server answers requests from its own page only")
            return None
        token, _, rest = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), labeling.token.encode()):
            self._send_message(HTTPStatus.NOT_FOUND, "this page does not exist")
            return None
        return rest

    def _body(self) -> dict[str, Any] | None:
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

    def _send_message(self, status: HTTPStatus, message: str) -> None:
        self._send(status, "application/json", json.dumps({"message": message}).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
