"""OpenAI's Responses API behind the same protocol."""

import base64

import pytest
from asked_over_http import SCHEMA, TEXT, ask, longer
from chat_server import respond, send, stream

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.protocol import Answer, Message


def test_the_responses_api_is_asked_and_read(server):
    question = longer(900, Message("assistant", "{}"), Message("user", "Again.", (b"png",)))
    [answer], client = ask(server, question, api="responses")
    assert answer == Answer(TEXT, 100, 20, "stop")
    assert client.backend == "responses"
    assert server.paths == ["/v1/responses"]
    body = server.requests[0]
    assert body["instructions"] == "Be brief."
    assert [turn["role"] for turn in body["input"]] == ["user", "assistant", "user"]
    assert body["input"][1]["content"] == [{"type": "output_text", "text": "{}"}]
    image = "data:image/png;base64," + base64.b64encode(b"png").decode()
    assert body["input"][2]["content"][0] == {"type": "input_image", "image_url": image}
    assert body["text"]["format"] == {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
    assert (body["max_output_tokens"], body["store"], body["stream"]) == (900, False, True)
    assert not {"seed", "messages", "response_format", "stream_options"} & set(body)
    assert client.unsupported_parameters == ["The server does not take the parameter seed."]


def test_a_response_without_a_stream_is_read(server):
    server.fail_next(
        lambda handler, body: send(handler, b'{"error": {"message": "Unsupported: stream"}}', 400),
        lambda h, body: respond(h, TEXT),
    )
    [answer], _ = ask(server, api="responses")
    assert answer.text == TEXT
    assert "stream" not in server.requests[1]


@pytest.mark.parametrize(
    ("parts", "right"),
    [
        ([{"type": "response.refusal.delta", "delta": "I can't."},
          {"type": "response.completed", "response": {"status": "completed", "output": []}}], Answer("I can't.", 0, 0, "refusal")),
        ([{"type": "response.output_text.delta", "delta": "{"},
          {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}, "status": "incomplete",
           "output": [], "usage": {"input_tokens": 7, "output_tokens": 900}}}], Answer("{", 7, 900, "length")),
        ([{"type": "response.incomplete", "response": {"incomplete_details": {"reason": "content_filter"}, "output": []}}],
         Answer("", 0, 0, "refusal")),
    ],
    ids=["refusal", "cut off", "filtered"],
)  # fmt: skip
def test_other_ends_of_responses_are_known(server, parts, right):
    server.fail_next(lambda handler, body: stream(handler, *parts))
    assert ask(server, api="responses")[0] == [right]


def test_an_error_in_a_response_is_an_error_with_its_words(server):
    failed = {
        "type": "response.failed",
        "response": {"status": "failed", "error": {"code": "server_error", "message": "Sorry about that."}},
    }
    server.gate = lambda body: lambda handler, body: stream(handler, failed)
    with pytest.raises(UsageError, match=r"Sorry about that\."):
        ask(server, api="responses")
    assert len(server.requests) == 5
