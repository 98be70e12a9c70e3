"""What servers publish as their errors, sent by a real server: what the client does next, request by request."""

import json
from dataclasses import replace

import pytest
from chat_server import send, serving
from published_errors import FORMS, KEYWORDS, LASTING, LEFT_OUT, LESS_HISTORY, REFUSALS, SHORTER

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.over_http.client import ChatCompletions
from dmun_audit.knowledge.language_models.protocol import Message, Question, Settings

ITEM = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 9}},
    "required": ["name"],
    "additionalProperties": False,
}
SCHEMA = {"type": "object", "properties": {"items": {"type": "array", "items": ITEM, "minItems": 1}}, "required": ["items"]}
TURNS = (Message("system", "S"), Message("user", "U"), Message("assistant", "a" * 2_000), Message("user", "again"))
QUESTION = Question(TURNS, SCHEMA, 0.7, 1, 2_000)


def form(body):
    return body.get("response_format", {}).get("type")


@pytest.fixture
def server():
    with serving(lambda body: '{"items": [{"name": "x"}]}') as running:
        yield running


def ask(server, status, reply, times=1):
    """The answer to one question, of which the first requests get this reply, and the client."""
    server.fail_next(*[lambda handler, body: send(handler, json.dumps(reply).encode(), status)] * times)
    client = ChatCompletions(Endpoint(server.url, "m"), Settings(timeout=20.0))
    [(_, answer)] = client.ask([QUESTION])
    return answer, client


def names(cases):
    return pytest.mark.parametrize(("status", "reply", "right"), [case[1:] for case in cases], ids=[case[0] for case in cases])


@names(SHORTER)
def test_an_answer_that_does_not_fit_is_asked_for_with_as_many_tokens_as_fit(server, status, reply, right):
    ask(server, status, reply)
    assert [body["max_tokens"] for body in server.requests] == [2_000, right]
    assert server.requests[1]["messages"] == server.requests[0]["messages"]


@names([(*case, None) for case in LESS_HISTORY])
def test_a_prompt_that_does_not_fit_loses_its_history_and_the_error_says_both_numbers(server, status, reply, right):
    ask(server, status, reply)
    assert [len(body["messages"][2]["content"]) for body in server.requests] == [2_000, 300]
    with pytest.raises(UsageError, match="a question of 3000 tokens is too long for m, whose context holds 2048"):
        ask(server, status, reply, times=9)
    assert [len(body["messages"]) for body in server.requests[2:]] == [4, 4, 2]


@names(FORMS)
def test_a_form_that_is_refused_becomes_a_plainer_one(server, status, reply, right):
    _, client = ask(server, status, reply)
    assert [form(body) for body in server.requests] == ["json_schema", right]
    assert len(client.unsupported_parameters) == 1
    list(client.ask([replace(QUESTION, seed=2)]))
    assert form(server.requests[2]) == right


@names(KEYWORDS)
def test_a_keyword_that_is_refused_leaves_the_schema(server, status, reply, right):
    _, client = ask(server, status, reply)
    assert [right in json.dumps(body["response_format"]) for body in server.requests] == [True, False]
    assert form(server.requests[1]) == "json_schema"
    assert server.requests[1]["response_format"]["json_schema"]["schema"]["properties"]["items"]["items"]["required"] == ["name"]
    assert client.unsupported_parameters == []


@names(LEFT_OUT)
def test_a_parameter_that_is_refused_is_left_out(server, status, reply, right):
    ask(server, status, reply)
    assert [right in body for body in server.requests] == [True, False]
    assert form(server.requests[1]) == "json_schema"


@names([(*case, None) for case in REFUSALS])
def test_a_content_filter_is_a_refusal_and_no_error(server, status, reply, right):
    answer, _ = ask(server, status, reply)
    assert answer.end == "refusal"
    assert answer.text
    assert len(server.requests) == 1


@names(LASTING)
def test_what_cannot_pass_is_not_tried_again_and_names_a_remedy(server, status, reply, right):
    with pytest.raises(UsageError) as caught:
        ask(server, status, reply, times=9)
    assert right in caught.value.remedy
    assert len(server.requests) == 1
