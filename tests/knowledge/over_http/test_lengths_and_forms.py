"""Questions that are too long for a server, and forms of answers that it does not keep to."""

import json

import pytest
from asked_over_http import QUESTION, SCHEMA, TEXT, ask, longer
from chat_server import send

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.over_http.client import ChatCompletions
from dmun_audit.knowledge.language_models.over_http.schemas import fits, without_keywords
from dmun_audit.knowledge.language_models.protocol import Message, Settings

# Lengths.


def test_a_long_question_does_not_shorten_later_ones(server):
    def refuse(handler, body):
        text = "This model's maximum context length is 2048 tokens. However, you requested 2900 tokens (1700 in the messages, 1200 in "
        send(handler, json.dumps({"error": {"message": f"{text}the completion)."}}).encode(), 400)

    server.gate = lambda body: refuse if len(str(body["messages"])) > 5_000 and body["max_tokens"] > 348 else None
    long = longer(1_200, Message("assistant", "{}"), Message("user", "x" * 6_000))
    ask(server, long, QUESTION, long, settings=Settings(concurrency=1))
    assert [body["max_tokens"] for body in server.requests] == [1_200, 348, 1_000, 1_200, 348]


def test_a_prompt_that_is_too_long_loses_its_history_first(server):
    def refuse(handler, body):
        facts = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 700, "n_ctx": 512}
        text = "request (700 tokens) exceeds the available context size (512 tokens), try increasing it"
        send(handler, json.dumps({"error": {"message": text} | facts}).encode(), 400)

    server.gate = lambda body: refuse if len(body["messages"]) > 2 else None
    again = longer(1_000, Message("assistant", "a" * 3_000), Message("user", "wrong " * 400))
    ask(server, again)
    lengths = [[len(turn["content"]) for turn in body["messages"]] for body in server.requests]
    assert lengths == [[9, 6, 3_000, 2_400], [9, 6, 300, 800], [9, 6]]
    server.gate = lambda body: refuse
    with pytest.raises(UsageError, match="a question of 700 tokens is too long for m, whose context holds 512"):
        ask(server, again)


def test_settings_limit_every_answer(server):
    ask(server, longer(4_000), longer(300), settings=Settings(max_tokens=600, concurrency=1))
    assert [body["max_tokens"] for body in server.requests] == [600, 300]


# Forms of answers.


def test_a_schema_that_is_ignored_is_noticed_and_told(server, caplog):
    server.answer = lambda body: "Certainly! " + TEXT
    _, client = ask(server, *[QUESTION] * 4, settings=Settings(concurrency=1))
    forms = [body.get("response_format", {}).get("type") for body in server.requests]
    assert forms == ["json_schema", "json_schema", "json_object", "json_object"]
    assert client.unsupported_parameters == []  # it depends on the order of answers, so it is no part of a dossier
    assert "m does not keep to the JSON schema" in caplog.text


def test_a_refusal_in_prose_says_nothing_of_the_schema(server, caplog):
    texts = iter(["I am sorry, but I cannot help with that.", "<think>Hm.</think>That is not something I can do."] * 2)
    server.answer = lambda body: next(texts)
    ask(server, *[QUESTION] * 4, settings=Settings(concurrency=1))
    assert {body["response_format"]["type"] for body in server.requests} == {"json_schema"}
    assert caplog.text == ""


def test_a_refusal_between_unfit_answers_does_not_hide_them(server):
    texts = iter(["Certainly!", "I cannot help with that.", "Of course!", TEXT])
    server.answer = lambda body: next(texts)
    ask(server, *[QUESTION] * 4, settings=Settings(concurrency=1))
    assert [body["response_format"]["type"] for body in server.requests] == ["json_schema"] * 3 + ["json_object"]


@pytest.mark.parametrize(("text", "last"), [('{"other": 1}', "json_object"), ("no JSON", None)])
def test_json_with_other_names_is_still_json(server, text, last):
    server.answer = lambda body: text
    ask(server, *[QUESTION] * 6, settings=Settings(concurrency=1))
    forms = [body.get("response_format", {}).get("type") for body in server.requests]
    assert forms == ["json_schema"] * 2 + ["json_object"] * 2 + [last] * 2


def test_a_preflight_can_note_that_a_schema_is_ignored(server):
    client = ChatCompletions(Endpoint(server.url, "m"), Settings())
    client.note_schema_ignored()
    list(client.ask([QUESTION]))
    client.note_schema_ignored()  # once more says nothing new
    assert server.requests[0]["response_format"] == {"type": "json_object"}
    assert client.accepted.response_format == "json_object"
    assert client.unsupported_parameters == []


def test_a_status_500_that_passes_loses_no_schema(server):
    server.fail_next(lambda handler, body: send(handler, b"{}", 500))
    _, client = ask(server)
    assert client.unsupported_parameters == []
    assert [body["response_format"]["type"] for body in server.requests] == ["json_schema"] * 2


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (TEXT, True),
        ("<think>{}</think>" + TEXT, True),
        ("<reasoning>{}</reasoning>" + TEXT, True),
        ("[THINK]{}[/THINK]```json\n" + TEXT + "\n```", True),
        ("<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>" + TEXT + "<|return|>", True),
        ('{"items": ["</think>"]}', True),
        ("[THINK]" + TEXT, False),
        ("```json\n" + TEXT + "\n```", True),  # llama.cpp's grammar allows a fence
        ('{"item": []}', False),
        ('{"items": [1]}', False),
        ("[]", False),
    ],
)
def test_an_answer_fits_its_schema_or_not(text, right):
    assert fits(text, SCHEMA) is right


def test_definitions_are_put_where_they_are_used():
    schema = {
        "$defs": {"A": {"type": "string"}},
        "properties": {"$ref": {"type": "string"}, "a": {"$ref": "#/$defs/A"}},
        "title": "T",
    }
    assert without_keywords(schema, {"$defs"}) == {
        "properties": {"$ref": {"type": "string"}, "a": {"type": "string"}},
        "title": "T",
    }
    assert without_keywords(schema, {"title"}) == {name: schema[name] for name in ("$defs", "properties")}
