"""Answers that come as streams: read as they arrive, bounded in size and number."""

import contextlib
import gzip
import json

import pytest
from asked_over_http import TEXT, ask, longer
from chat_server import delta, events, send, stream

from dmun_audit.knowledge.language_models.protocol import Answer, Settings


def test_an_answer_comes_as_a_stream_with_its_usage(server):
    [answer], _ = ask(server)
    assert answer == Answer(TEXT, 100, 20, "stop")
    assert server.requests[0]["stream"] is True
    assert server.requests[0]["stream_options"] == {"include_usage": True}


def test_thoughts_are_no_part_of_the_answer_and_keep_it_alive(server):
    parts = [delta(reasoning_content="so "), delta(reasoning="or so ")] * 3
    server.fail_next(lambda handler, body: stream(handler, *parts, *events({"content": TEXT}), pause=0.2))
    [answer], _ = ask(server, settings=Settings(timeout=1.2))
    assert answer.text == TEXT
    assert len(server.requests) == 1


def test_a_character_in_two_events_is_joined_and_half_a_one_replaced(server):
    halves = [delta(content='{"items": ["\ud83c'), delta(content='\udf1f"]}'), delta(content="\ud83c"), delta("stop")]
    server.fail_next(lambda handler, body: stream(handler, *halves))
    [answer], _ = ask(server)
    assert answer.text == '{"items": ["🌟"]}\ufffd'


def test_an_end_without_done_on_a_connection_that_stays_open_is_an_end(server):
    parts = events({"content": TEXT})[:-1]
    server.fail_next(lambda handler, body: stream(handler, *parts, close=False))
    [answer], _ = ask(server, settings=Settings(timeout=1.0))
    assert answer == Answer(TEXT, 100, 20, "stop")
    assert len(server.requests) == 1


def test_a_stream_that_is_compressed_is_read(server):
    def fault(handler, body):
        data = "".join(f"data: {part if isinstance(part, str) else json.dumps(part)}\n\n" for part in events({"content": TEXT}))
        send(handler, gzip.compress(data.encode()), headers=[("Content-Encoding", "gzip"), ("Content-Type", "text/event-stream")])

    server.fail_next(fault)
    assert ask(server)[0][0].text == TEXT


@pytest.mark.parametrize("part", [delta(reasoning_content="hm"), delta(content="")], ids=["thoughts", "nothing"])
def test_a_stream_without_end_is_cut_off(server, part):
    def fault(handler, body):
        with contextlib.suppress(OSError):
            stream(handler, *[part] * 50_000)

    server.fail_next(fault)
    [answer], _ = ask(server, longer(50))
    assert (answer.text, answer.end) == ("", "length")


def test_a_stream_of_a_far_too_long_answer_is_given_up(server):
    def fault(handler, body):
        with contextlib.suppress(OSError):
            stream(handler, *[delta(content="x" * 50_000)] * 1_000)

    server.fail_next(fault)
    assert ask(server)[0][0] == Answer("", end="too large")


def test_an_event_without_end_is_given_up(server):
    def fault(handler, body):
        with contextlib.suppress(OSError):
            stream(handler, b"data: ", *[b"x" * 1_000_000] * 40)

    server.fail_next(fault)
    assert ask(server)[0][0].end == "too large"
