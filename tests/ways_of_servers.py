"""How a fault comes into a running server, and what is right of a dossier that is made in spite of it."""

import json

from chat_server import delta, events, send, stream

NEVER = 500  # requests; more than any interview sends


def once(*faults):
    """The next requests meet these faults, one each."""
    return lambda chat: chat.fail_next(*faults)


def always(fault):
    """Every request meets the fault."""
    return lambda chat: chat.fail_next(*[fault] * NEVER)


def whenever(wrong, fault):
    """Every request whose body is `wrong` meets the fault."""

    def cause(chat):
        chat.gate = lambda body: fault if wrong(body) else None

    return cause


def told(message, status=400, headers=(), **fields):
    """The server says this error, as OpenAI words one."""
    body = json.dumps({"error": {"message": message} | fields}).encode()
    return lambda handler, request: send(handler, body, status, headers)


def said(text, status=200, kind="application/json"):
    """The server says this text."""
    return lambda handler, request: send(handler, text.encode(), status, [("Content-Type", kind)])


def streamed(make, **how):
    """The server streams what `make` makes of the events of its answer."""

    def fault(handler, body):
        parts = events({"content": handler.chat.answer(body)})
        stream(handler, *make(parts), **how)

    return fault


def ended(handler, body):
    """The answer comes without any text, because thinking has used up its tokens."""
    stream(handler, delta(role="assistant"), delta(reasoning_content="Let me think…"), delta("length"), "[DONE]")


def without_schema(refuse):
    """Every request with a JSON schema is refused."""
    return whenever(lambda body: body.get("response_format", {}).get("type") == "json_schema", refuse)


# What is right of a dossier.


def whole(dossier):
    """The dossier holds all that the language model knows."""
    assert dossier.target.label == "a painting by Vincent van Gogh"
    assert len(dossier.concepts) >= 20
    assert len(dossier.adversarial) >= 20


def whole_and_recorded(words):
    """The dossier is whole, and its history says so."""

    def check(dossier):
        whole(dossier)
        assert any(words in sentence for sentence in dossier.provenance.history), dossier.provenance.history

    return check


def whole_and_plain(dossier):
    """The dossier is whole, and nothing is said to be missing at the server."""
    whole(dossier)
    assert not any("server" in sentence for sentence in dossier.provenance.history), dossier.provenance.history
