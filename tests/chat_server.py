"""A real HTTP server on loopback that speaks chat completions. Who answers is given: a function from a request to a text."""

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dmun_audit.knowledge.dossier import Dossier


class Chat:
    """A running server. `requests` are the bodies that were answered or refused, `faults` what the next requests meet instead."""

    def __init__(self, answer: Callable[[dict], str]) -> None:
        self.answer = answer
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.faults: list[Callable] = []
        self.answered = 0
        self.lock = threading.Lock()
        self.url = ""

    def fail_next(self, *faults: Callable) -> None:
        """Let the next requests, one each, meet these faults."""
        self.faults += faults


def reply(handler, text, status=200, **facts):
    """A whole chat completion around `text`."""
    message = {"role": "assistant", "content": text} | facts.pop("message", {})
    body = {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": facts.pop("finish_reason", "stop")}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }
    send(handler, json.dumps(body).encode(), status, **facts)


def send(handler, body, status=200, headers=()):
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(answer):
    """Serve on a free port of loopback while the context lasts."""
    chat = Chat(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with chat.lock:
                chat.requests.append(body)
                chat.headers.append(dict(self.headers))
                fault = chat.faults.pop(0) if chat.faults else None
            if self.path != "/v1/chat/completions":
                return send(self, b'{"error": {"message": "no such path"}}', 404)
            if fault is not None:
                return fault(self, body)
            with chat.lock:
                text = chat.answer(body)
                chat.answered += 1
            return reply(self, text)

        def log_message(self, *arguments):
            pass

        def handle(self):
            with suppress(ConnectionError):  # of a client that had enough
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


class Oracle:
    """Answers the interview out of a dossier, as a language model would that knows it by heart."""

    def __init__(self, dossier: Dossier) -> None:
        self.dossier = dossier

    def __call__(self, body: dict) -> str:
        """The answer to the last turn of a conversation; to the same question always the same."""
        asked = next(turn["content"] for turn in body["messages"] if turn["role"] == "user")
        return json.dumps({"items": self.items(asked)}, ensure_ascii=False)

    def items(self, asked: str) -> list[dict]:
        target = self.dossier.target
        if "Say what it is." in asked:
            about = {"kind": target.kind, "aliases": target.aliases, "spellings": target.spellings, "label": target.label}
            return [about | {name: list(about[name])[:8] for name in ("aliases", "spellings")}]
        if "by its name" in asked and "plainly" in asked:
            return [{"prompt": text} for text in target.direct_prompts]
        if "relation to the target" in asked:
            return [_neighbour(concept) for concept in self._related(re.search(r"relation to the target: (\w+)", asked)[1])]
        if "a third of each skill" in asked:
            return [{"prompt": prompt.text, "skill": prompt.skill} for prompt in self.dossier.compositions]
        listed = re.findall(r"^(\d+)\. (.+)$", asked, re.MULTILINE)
        similar = {concept.name: concept.similarity for concept in self.dossier.concepts}
        if "Rate every one" in asked:
            return [{"number": int(number), "rating": round(100 * similar[name])} for number, name in listed]
        if "in order of their similarity" in asked:
            return [{"number": int(number)} for number, name in sorted(listed, key=lambda entry: -similar[entry[1]])]
        return [_adversarial(prompt) for prompt in self.dossier.adversarial if prompt.strategy == strategy_of(asked)]

    def _related(self, relation):
        every = self.dossier.concepts
        own = [concept for concept in every if concept.relation == relation]
        if relation == "sibling":
            own += [concept for concept in every if concept.relation in {"associated"}]
        return own or every[:1]


PHRASES = {
    "description": "describe what its pictures look like",
    "works": "well-known works",
    "biography": "through its life",
    "indirect": "roundabout",
    "misspelling": "misspelt",
    "homoglyph": "Cyrillic or Greek",
    "language": "other languages than English",
    "composition": "together with other concepts",
    "features": "comma-separated",
    "mixture": "blend two or three",
}


def strategy_of(asked: str) -> str:
    """The strategy that a question about adversarial prompts asks for."""
    return next(strategy for strategy, phrase in PHRASES.items() if phrase in asked)


def _neighbour(concept):
    facts = concept.model_dump(include={"name", "kind", "role", "may_contain_target", "label"})
    return facts | {"prompts": list(concept.prompts)[:6]}


def _adversarial(prompt):
    return {"prompt": prompt.text} | ({"language": prompt.language} if prompt.strategy == "language" else {})


def slowly(seconds):
    """A fault: the server thinks for so long before it answers properly."""

    def fault(handler, body):
        time.sleep(seconds)
        reply(handler, "{}")

    return fault
