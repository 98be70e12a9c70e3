"""Asks in the browser: a small server on this machine alone, one page, every answer written down as it comes."""

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
"""Makes the page from the images in the order in which they are shown, each with an opaque `id` and its `answer` or None."""


class LabellingServer:
    """Serves one labeling_session until the person ends it. A context manager; `url` holds a secret that no other page can guess."""

    def __init__(self, labeling_session: LabelingSession, page: Page, port: int = 0) -> None:
        self.labeling_session = labeling_session
        self.page = page
        self.token = secrets.token_urlsafe(16)
        self.keys = {secrets.token_hex(8): key for key in labeling_session.order}
        self.ended = threading.Event()
        self.writing = threading.Lock()
        try:
            self._server = _Server((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(f"port {port} cannot be opened", str(error), "give another --port, or leave it out") from None
        self._server.labelling = self

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{ADDRESS}:{self.port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request may name as its host: anything else comes from a page that stands elsewhere."""
        return (f"{ADDRESS}:{self.port}", f"localhost:{self.port}")

    def images(self) -> list[dict[str, Any]]:
        """The images as the page is told of them."""
        return [{"id": opaque, "answer": self.labeling_session.answers.get(key)} for opaque, key in self.keys.items()]

    def __enter__(self) -> LabellingServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    labelling: LabellingServer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        labelling, path = self.server.labelling, self._path()
        if path is None:
            return
        if path == "":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", labelling.page(labelling.images()).encode())
        elif path.startswith("image/") and (key := labelling.keys.get(path.removeprefix("image/"))):
            try:
                self._send(HTTPStatus.OK, "image/png", labelling.labeling_session.picture(key))
            except StoreError as error:
                self._say(HTTPStatus.INTERNAL_SERVER_ERROR, error.what)
        else:
            self._say(HTTPStatus.NOT_FOUND, "nothing is here")

    def do_POST(self) -> None:
        labelling, path = self.server.labelling, self._path()
        if path is None:
            return
        body = self._body()
        if body is None:
            self._say(HTTPStatus.BAD_REQUEST, "no answer could be read")
        elif path == "end":
            self._say(HTTPStatus.OK, "")
            labelling.ended.set()
        elif path == "answer" and body.get("image") in labelling.keys and body.get("answer") in ANSWERS:
            try:
                with labelling.writing:
                    labelling.labeling_session.answer(labelling.keys[body["image"]], body["answer"])
            except StoreError as error:
                self._say(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error.what}: {error.why}")
            else:
                self._say(HTTPStatus.OK, "")
        else:
            self._say(HTTPStatus.BAD_REQUEST, "no answer could be read")

    def log_message(self, *_: Any) -> None:
        """The terminal belongs to the person."""

    def _path(self) -> str | None:
        """What follows the token, or None where the request was refused."""
        labelling = self.server.labelling
        origin = self.headers.get("Origin")
        own = [f"http://{host}" for host in labelling.hosts]
        if self.headers.get("Host") not in labelling.hosts or (origin is not None and origin not in own):
            self._say(HTTPStatus.FORBIDDEN, "this page answers to its own machine alone")
            return None
        token, _, rest = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), labelling.token.encode()):
            self._say(HTTPStatus.NOT_FOUND, "nothing is here")
            return None
        return rest

    def _body(self) -> dict[str, Any] | None:
        """The JSON object that was sent; a form of a strange page cannot send this content type unasked."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json" or not length.isdecimal() or int(length) > _LONGEST_BODY:
            return None
        try:
            held = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError, OSError):
            return None
        texts = isinstance(held, dict) and all(isinstance(value, str) for value in held.values())
        return held if texts else None

    def _say(self, status: HTTPStatus, words: str) -> None:
        self._send(status, "application/json", json.dumps({"said": words}).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
