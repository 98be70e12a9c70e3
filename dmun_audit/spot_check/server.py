"""Asks in the browser: a small server for this machine alone, with one page. It saves every answer at once."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from dmun_audit._util.errors import StoreError
from dmun_audit._util.loopback import NOT_FOUND, LoopbackServer, Request, Response, message
from dmun_audit.spot_check.labeling_session import LabelingSession
from dmun_audit.spot_check.labels import ANSWERS

Page = Callable[[list[dict[str, Any]]], str]
"""A function that renders the page from the images in order, each with an opaque `id` and its `answer` or None."""

UNREADABLE = message("the answer could not be read", HTTPStatus.BAD_REQUEST)


class LabelingServer(LoopbackServer):
    """Serves one session until the person ends it."""

    def __init__(self, session: LabelingSession, page: Page, port: int = 0) -> None:
        self.session = session
        self.page = page
        self.keys = {secrets.token_hex(8): key for key in session.order}
        self.ended = threading.Event()
        self.writing = threading.Lock()
        super().__init__(lambda request: self._posted(request) if request.posted else self._asked(request), port)

    def images(self) -> list[dict[str, Any]]:
        """The images for the page, without their keys."""
        return [{"id": opaque, "answer": self.session.answers.get(key)} for opaque, key in self.keys.items()]

    def _asked(self, request: Request) -> Response:
        """The page, or one of its images."""
        if request.path == "":
            return Response(self.page(self.images()).encode())
        key = self.keys.get(request.path.removeprefix("image/")) if request.path.startswith("image/") else None
        if key is None:
            return NOT_FOUND
        try:
            return Response(self.session.png(key), "image/png")
        except StoreError as error:
            return message(error.what, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _posted(self, request: Request) -> Response:
        """Save an answer, or end."""
        body = request.body
        if body is None:
            return UNREADABLE
        if request.path == "end":
            self.ended.set()
            return message("")
        if request.path != "answer" or body.get("image") not in self.keys or body.get("answer") not in ANSWERS:
            return UNREADABLE
        try:
            with self.writing:
                self.session.answer(self.keys[body["image"]], body["answer"])
        except StoreError as error:
            return message(f"{error.what}: {error.why}", HTTPStatus.INTERNAL_SERVER_ERROR)
        return message("")
