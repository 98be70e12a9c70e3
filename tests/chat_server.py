"""A real HTTP server of chat completions and of responses on loopback. A function makes the text of each answer from the body."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dmun_audit.knowledge.language_models import preflight

PATHS = ("/v1/chat/completions", "/v1/responses")


class Chat:
    """A running server. `requests` are the bodies received so far; each of `faults` handles one of the next requests instead.

    `paths` are the paths of the requests with their query. `streams` tells whether answers are streamed to those who ask for it.
    `gate` gives the fault that a body deserves, or None. The small question of a preflight is answered by `answer_preflight` and
    stands in `preflights` alone, unless that is None: then it is a question like any other. `pages` answers requests to other
    paths: the value of a path is sent as JSON.
    """

    def __init__(self, answer: Callable[[dict], str]) -> None:
        self.answer = answer
        self.answer_preflight: Callable[[dict], str] | None = keeps_to_schema
        self.preflights: list[dict] = []
        self.pages: dict[str, object] = {}
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.paths: list[str] = []
        self.faults: list[Callable] = []
        self.streams = True
        self.gate: Callable[[dict], Callable | None] = lambda body: None
        self.answered = 0
        self.lock = threading.Lock()
        self.url = ""

    def fail_next(self, *faults: Callable) -> None:
        """Let each of these faults handle one of the next requests."""
        self.faults += faults


USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def keeps_to_schema(body: dict) -> str:
    """The answer to a preflight of a model that is held to the schema."""
    return json.dumps({"words": [preflight.WORDS[0]] * preflight.COUNT})


def reply(handler, text, status=200, **facts):
    """Send a whole chat completion around `text`, as a stream if the request asked for one."""
    message = {"role": "assistant", "content": text} | facts.pop("message", {})
    finish = facts.pop("finish_reason", "stop")
    if status == 200 and handler.asked.get("stream") and handler.chat.streams:
        return stream(handler, *events(message, finish))
    body = {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": USAGE,
    }
    return send(handler, json.dumps(body).encode(), status, **facts)


def delta(finish_reason=None, **part):
    """One event of a streamed chat completion."""
    choice = {"index": 0, "delta": part, "finish_reason": finish_reason}
    return {"id": "x", "object": "chat.completion.chunk", "choices": [choice]}


def events(message, finish="stop"):
    """The events of a streamed answer: its text in three parts, its end, its usage."""
    text = message.get("content") or ""
    third = max(1, len(text) // 3)
    parts = [text[:third], text[third : 2 * third], text[2 * third :]]
    others = {name: value for name, value in message.items() if name not in {"role", "content"}}
    deltas = [delta(role="assistant", content="", **others), *(delta(content=part) for part in parts if part)]
    return [*deltas, delta(finish), {"id": "x", "choices": [], "usage": USAGE}, "[DONE]"]


def stream(handler, *parts, pause=0.0, kind="text/event-stream", close=True):
    """Send a stream: dictionaries and words as events, bytes as they are, with a pause before each; then close the connection."""
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.end_headers()
    for part in parts:
        time.sleep(pause)
        data = (
            part
            if isinstance(part, bytes)
            else b"data: " + (part if isinstance(part, str) else json.dumps(part)).encode() + b"\n\n"
        )
        handler.wfile.write(data)
        handler.wfile.flush()
    if not close:
        time.sleep(30)


def send(handler, body, status=200, headers=()):
    """Send a response with this body."""
    headers = dict(headers)
    handler.send_response(status)
    handler.send_header("Content-Type", headers.pop("Content-Type", "application/json"))
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def respond(handler, text):
    """Send a whole response of the Responses API around `text`, as a stream if the request asked for one."""
    part = {"type": "output_text", "text": text, "annotations": []}
    usage = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "output_tokens_details": {"reasoning_tokens": 5}}
    output = [{"type": "reasoning", "summary": []}, {"type": "message", "role": "assistant", "content": [part]}]
    whole = {
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": output,
        "usage": usage,
    }
    if not handler.asked.get("stream"):
        return send(handler, json.dumps(whole).encode())
    deltas = [{"type": "response.output_text.delta", "delta": piece} for piece in (text[:10], text[10:])]
    return stream(handler, {"type": "response.created", "response": {"object": "response"}}, *deltas,
                  {"type": "response.completed", "response": whole})  # fmt: skip


@contextmanager
def serving(answer):
    """Serve on a free port of loopback during the context."""
    chat = Chat(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.chat, self.asked = chat, body
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
            path = self.path.partition("?")[0]
            if path not in PATHS:
                return send(self, b'{"error": {"message": "no such path"}}', 404)
            fault = fault or chat.gate(body)
            if fault is not None:
                return fault(self, body)
            with chat.lock:
                text = chat.answer(body)
                chat.answered += 1
            return respond(self, text) if path == PATHS[1] else reply(self, text)

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
    server.block_on_close = False  # a handler that waits for nobody does not hold the tests up
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
