"""A real HTTP server of chat completions on loopback. A function makes the text of each answer from the request's body."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dmun_audit.knowledge.language_models import preflight


class Chat:
    """A running server. `requests` are the bodies received so far; each of `faults` handles one of the next requests instead.

    The small question of a preflight is answered by `answer_preflight` and stands in `preflights` alone, unless that is None: then
    it is a question like any other. `pages` answers requests to other paths: the value of a path is sent as JSON. `paths` are the
    paths of the questions, with their query.
    """

    def __init__(self, answer: Callable[[dict], str]) -> None:
        self.answer = answer
        self.answer_preflight: Callable[[dict], str] | None = keeps_to_schema
        self.preflights: list[dict] = []
        self.pages: dict[str, object] = {}
        self.paths: list[str] = []
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.faults: list[Callable] = []
        self.answered = 0
        self.lock = threading.Lock()
        self.url = ""

    def fail_next(self, *faults: Callable) -> None:
        """Let each of these faults handle one of the next requests."""
        self.faults += faults


def keeps_to_schema(body: dict) -> str:
    """The answer to a preflight of a model that is held to the schema."""
    return json.dumps({"words": [preflight.WORDS[0]] * preflight.COUNT})


def reply(handler, text, status=200, **facts):
    """Send a whole chat completion around `text`."""
    message = {"role": "assistant", "content": text} | facts.pop("message", {})
    body = {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": facts.pop("finish_reason", "stop")}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }
    send(handler, json.dumps(body).encode(), status, **facts)


def send(handler, body, status=200, headers=()):
    """Send a response with this body."""
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(answer):
    """Serve on a free port of loopback during the context."""
    chat = Chat(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path in chat.pages:
                return send(self, json.dumps(chat.pages[self.path]).encode())
            if preflight.TEXT in json.dumps(body) and chat.answer_preflight is not None:
                chat.preflights.append(body)
                return reply(self, chat.answer_preflight(body))
            with chat.lock:
                chat.requests.append(body)
                chat.headers.append(dict(self.headers))
                chat.paths.append(self.path)
                fault = chat.faults.pop(0) if chat.faults else None
            if self.path.partition("?")[0] != "/v1/chat/completions":
                return send(self, b'{"error": {"message": "no such path"}}', 404)
            if fault is not None:
                return fault(self, body)
            with chat.lock:
                text = chat.answer(body)
                chat.answered += 1
            return reply(self, text)

        def do_GET(self):
            page = chat.pages.get(self.path)
            send(self, json.dumps(page or {"error": {"message": "no such path"}}).encode(), 404 if page is None else 200)

        def log_message(self, *arguments):
            pass

        def handle(self):
            with suppress(ConnectionError):  # the client closed the connection
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()


def slowly(seconds):
    """A fault: the server waits so many seconds before it answers."""

    def fault(handler, body):
        time.sleep(seconds)
        reply(handler, "{}")

    return fault
