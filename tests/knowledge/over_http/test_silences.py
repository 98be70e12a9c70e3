"""Silences of a server: two for a question at most, fewer questions at once, and no mistake about a queue."""

import json
import threading
import time
from dataclasses import replace

import pytest
from asked_over_http import QUESTION, TEXT, ask
from chat_server import events, reply, send, stream

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.over_http.patience import in_seconds
from dmun_audit.knowledge.language_models.protocol import Answer, Settings


def test_a_silence_costs_two_tries_and_the_second_asks_for_less(server):
    server.fail_next(*[lambda handler, body: time.sleep(30)] * 9)
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"nothing came within 0\.3 seconds, twice") as caught:
        ask(server, settings=Settings(timeout=0.3))
    assert "--timeout" in caught.value.remedy
    assert "--concurrency=1" in caught.value.remedy
    assert time.monotonic() - started < 15
    assert [body["max_tokens"] for body in server.requests] == [1_000, 500]


def test_questions_that_wait_are_not_asked_again_once_one_has_failed(server):
    server.gate = lambda body: lambda handler, body: time.sleep(30)
    started = time.monotonic()
    with pytest.raises(UsageError, match="twice for one question"):
        ask(server, *[replace(QUESTION, seed=seed) for seed in range(9)], settings=Settings(timeout=0.4, concurrency=4))
    assert time.monotonic() - started < 15
    assert len(server.requests) == 6  # four, and two of them again


def test_questions_that_wait_for_others_are_not_silent(server):
    one_at_a_time = threading.Lock()

    def queued(handler, body):
        with one_at_a_time:
            stream(handler, *events({"content": TEXT}), pause=0.1)  # 0.7 seconds

    server.gate = lambda body: queued
    answers, client = ask(
        server, *[replace(QUESTION, seed=seed) for seed in range(4)], settings=Settings(timeout=1.2, concurrency=4)
    )
    assert [answer.text for answer in answers] == [TEXT] * 4
    assert len(server.requests) == 4
    assert client.concurrency.number == 4


def test_output_that_its_server_cannot_read_is_an_invalid_answer(server):
    message = (
        b'{"error": {"code": 500, "message": "The model produced output that does not match the expected peg-native format"}}'
    )
    server.fail_next(lambda handler, body: send(handler, message, 500))
    assert ask(server)[0] == [Answer("")]
    assert len(server.requests) == 1


def test_one_connection_carries_many_questions(server):
    connections = set()

    def counted(body):
        return lambda handler, body: (connections.add(handler.client_address), chunked(handler))

    server.gate = counted
    ask(server, *[replace(QUESTION, seed=seed) for seed in range(5)], settings=Settings(concurrency=1))
    assert len(server.requests) == 5
    assert len(connections) == 1


def chunked(handler):
    """Stream the answer in chunks on a connection that stays open (HTTP/1.1)."""
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for part in events({"content": TEXT}):
        data = f"data: {part if isinstance(part, str) else json.dumps(part)}\n\n".encode()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
    handler.wfile.write(b"0\r\n\r\n")
    handler.close_connection = False


def test_a_silence_halves_the_questions_open_at_once_for_good(server):
    most, open_now, lock = [0], [0], threading.Lock()

    def counted(handler, body):
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        time.sleep(0.05)
        with lock:
            open_now[0] -= 1
        reply(handler, TEXT)

    server.fail_next(*[lambda handler, body: time.sleep(30)] * 4)
    server.gate = lambda body: counted
    questions = [replace(QUESTION, seed=seed) for seed in range(16)]
    answers, client = ask(server, *questions, settings=Settings(timeout=1.0, concurrency=4))
    assert len(answers) == 16
    assert client.concurrency.number == 2
    assert most[0] <= 2
    assert len(server.requests) == 20


def test_a_server_that_is_silent_once_for_each_question_is_given_up(server, monkeypatch):
    monkeypatch.setattr("dmun_audit.knowledge.language_models.over_http.trying.MOST_SILENCES", 3)
    asked = set()

    def silent_first(body):
        new = body["seed"] not in asked
        asked.add(body["seed"])
        return (lambda handler, body: time.sleep(30)) if new else None

    server.gate = silent_first
    with pytest.raises(UsageError, match="4 times in all"):
        ask(server, *[replace(QUESTION, seed=seed) for seed in range(20)], settings=Settings(timeout=0.4, concurrency=1))
    assert len(server.requests) == 7


@pytest.mark.parametrize(("duration", "words"), [(1.0, "1 second"), (0.3, "0.3 seconds"), (300, "300 seconds")])
def test_one_second_is_singular(duration, words):
    assert in_seconds(duration) == words
