"""What every request carries, and how long a client waits before the next one."""

import json

import pytest
from asked_over_http import ask
from chat_server import send

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.api_key import ApiKey
from dmun_audit.knowledge.language_models.over_http.pauses import asked_pause, duration

# What every request carries.


def test_headers_query_and_options_go_with_every_request(server):
    options = {"reasoning_effort": "low", "temperature": 0.1, "seed": None, "stream": False, "stream_options": None}
    endpoint = {"headers": {"api-key": "abc", "X-Title": "audit"}, "query": {"api-version": "2025-01-01"}, "options": options}
    ask(server, key=ApiKey("k"), **endpoint)
    body = server.requests[0]
    assert (body["reasoning_effort"], body["temperature"], body["stream"]) == ("low", 0.1, False)
    assert not {"seed", "stream_options"} & set(body)
    assert server.paths == ["/v1/chat/completions?api-version=2025-01-01"]
    assert (server.headers[0]["api-key"], server.headers[0]["X-Title"]) == ("abc", "audit")
    assert server.headers[0]["Authorization"] == "Bearer k"


def test_an_option_that_the_server_refuses_is_named(server):
    server.fail_next(
        lambda handler, body: send(handler, b'{"error": {"message": "Unrecognized argument: reasoning_effort"}}', 400)
    )
    with pytest.raises(UsageError, match="with the option reasoning_effort"):
        ask(server, options={"reasoning_effort": "low"})
    assert len(server.requests) == 1


def test_secrets_in_headers_and_parameters_are_hidden(server):
    secrets = ["azure-0123456789", "gateway 9876543210", "sig0987654321"]
    message = {"error": {"message": " ".join(["bad:", *secrets])}}
    server.fail_next(lambda handler, body: send(handler, json.dumps(message).encode(), 401))
    headers = {"api-key": secrets[0], "X-Gateway-Token": f"Bearer {secrets[1]}", "X-Title": "Van Gogh"}
    with pytest.raises(UsageError) as caught:
        ask(server, headers=headers, query={"sig": secrets[2]})
    assert "bad: [key] [key] [key]" in str(caught.value)


# How long to wait.


@pytest.mark.parametrize(
    ("headers", "words", "seconds"),
    [
        ({"retry-after-ms": "1500", "Retry-After": "9"}, "", 1.5),
        ({"Retry-After": "7"}, "please try again in 99s", 7.0),
        ({}, "please try again in 7.66s. need more?", 7.66),
        ({}, "please try again in 6m0s.", 360.0),
        ({}, "please try again in 20ms.", 0.02),
        ({}, "please retry in 34.07465s.", 34.07465),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, "", 60.0),
        ({"x-ratelimit-reset-requests": "12ms"}, "", 0.012),
        ({}, "slow down", None),
    ],
)
def test_the_pause_that_a_server_asks_for_is_read(headers, words, seconds):
    assert asked_pause(headers, words) == (None if seconds is None else pytest.approx(seconds))


def test_durations_are_read():
    assert [duration(text) for text in ("2m59.56s", "1h2m", "12", "soon")] == [pytest.approx(179.56), 3720.0, 12.0, None]
