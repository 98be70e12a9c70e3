"""The HTTP client, question by question against a real server: streams, silences, lengths, options, protocols, connections."""

import base64
import contextlib
import datetime
import gzip
import json
import socket
import ssl
import threading
import time
from dataclasses import replace

import pytest
from chat_server import delta, events, reply, respond, send, serving, stream

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.api_key import ApiKey
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.http import ChatCompletions
from dmun_audit.knowledge.language_models.pauses import asked_pause, duration
from dmun_audit.knowledge.language_models.protocol import Answer, Message, Question, Settings
from dmun_audit.knowledge.language_models.schemas import fits, without_keywords

SCHEMA = {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "string"}}}, "required": ["items"]}
QUESTION = Question((Message("system", "Be brief."), Message("user", "Which?")), SCHEMA, 0.7, 1, 1_000)
TEXT = '{"items": ["a star ✨"]}'


@pytest.fixture
def server():
    """A server that gives one and the same answer."""
    with serving(lambda body: TEXT) as running:
        yield running


def ask(chat, *questions, settings=None, **endpoint):
    """The answers to the questions, in their order, and the client."""
    client = ChatCompletions(Endpoint(endpoint.pop("url", chat and chat.url), "m", **endpoint), settings or Settings(timeout=20.0))
    answers = dict(client.ask(questions or [QUESTION]))
    return [answers[place] for place in sorted(answers)], client


def longer(tokens, *turns):
    """The question with this limit and further turns."""
    return replace(QUESTION, max_tokens=tokens, messages=QUESTION.messages + turns)


# Streams.


def test_an_answer_comes_as_a_stream_with_its_usage(server):
    [answer], _ = ask(server)
    assert answer == Answer(TEXT, 100, 20, "stop")
    assert server.requests[0]["stream"] is True
    assert server.requests[0]["stream_options"] == {"include_usage": True}


def test_thoughts_are_no_part_of_the_answer_and_keep_it_alive(server):
    parts = [delta(reasoning_content="so "), delta(reasoning="or so ")] * 3
    server.fail_next(lambda handler, body: stream(handler, *parts, *events({"content": TEXT}), pause=0.12))
    [answer], _ = ask(server, settings=Settings(timeout=0.5))
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
    [answer], _ = ask(server, settings=Settings(timeout=0.3))
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


# Silences.


def test_a_silence_costs_two_tries_and_the_second_asks_for_less(server):
    server.fail_next(*[lambda handler, body: time.sleep(1.5)] * 9)
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"nothing came within 0\.3 seconds, twice") as caught:
        ask(server, settings=Settings(timeout=0.3))
    assert "--timeout" in caught.value.remedy
    assert "--concurrency=1" in caught.value.remedy
    assert time.monotonic() - started < 1.4
    assert [body["max_tokens"] for body in server.requests] == [1_000, 500]


def test_questions_that_wait_are_not_asked_again_once_one_has_failed(server):
    server.gate = lambda body: lambda handler, body: time.sleep(2.0)
    started = time.monotonic()
    with pytest.raises(UsageError, match="twice for one question"):
        ask(server, *[replace(QUESTION, seed=seed) for seed in range(9)], settings=Settings(timeout=0.4, concurrency=4))
    assert time.monotonic() - started < 1.6
    assert len(server.requests) == 6  # four, and two of them again


def test_questions_that_wait_for_others_are_not_silent(server):
    one_at_a_time = threading.Lock()

    def queued(handler, body):
        with one_at_a_time:
            stream(handler, *events({"content": TEXT}), pause=0.06)  # 0.4 seconds

    server.gate = lambda body: queued
    answers, client = ask(
        server, *[replace(QUESTION, seed=seed) for seed in range(6)], settings=Settings(timeout=0.5, concurrency=4)
    )
    assert [answer.text for answer in answers] == [TEXT] * 6
    assert len(server.requests) == 6
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

    server.fail_next(*[lambda handler, body: time.sleep(1.5)] * 4)
    server.gate = lambda body: counted
    questions = [replace(QUESTION, seed=seed) for seed in range(16)]
    answers, client = ask(server, *questions, settings=Settings(timeout=0.6, concurrency=4))
    assert len(answers) == 16
    assert client.concurrency.number == 2
    assert most[0] <= 2
    assert len(server.requests) == 20


def test_a_server_that_is_silent_once_for_each_question_is_given_up(server, monkeypatch):
    monkeypatch.setattr("dmun_audit.knowledge.language_models.trying.MOST_SILENCES", 3)
    asked = set()

    def silent_first(body):
        new = body["seed"] not in asked
        asked.add(body["seed"])
        return (lambda handler, body: time.sleep(1.0)) if new else None

    server.gate = silent_first
    with pytest.raises(UsageError, match="4 times in all"):
        ask(server, *[replace(QUESTION, seed=seed) for seed in range(20)], settings=Settings(timeout=0.4, concurrency=1))
    assert len(server.requests) == 7


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
    assert client.unsupported_parameters == [
        "The server took a JSON schema and did not keep to it; answers were validated here alone."
    ]
    assert "does not keep to the JSON schema" in caplog.text


def test_a_preflight_can_note_that_a_schema_is_ignored(server):
    client = ChatCompletions(Endpoint(server.url, "m"), Settings())
    client.note_schema_ignored()
    list(client.ask([QUESTION]))
    assert server.requests[0]["response_format"] == {"type": "json_object"}
    assert len(client.unsupported_parameters) == 1


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
        ("```json\n" + TEXT + "\n```", False),
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


# OpenAI's Responses API.


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


# Connections.


def test_a_name_that_nobody_knows_is_named_at_once(server, monkeypatch):
    real = socket.getaddrinfo

    def unknown(host, *arguments, **options):
        if host in {"no-such-host.invalid", b"no-such-host.invalid"}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # the machine that tests may have no resolver
    with pytest.raises(UsageError, match=r"no machine of the name no-such-host\.invalid"):
        ask(None, url="http://no-such-host.invalid/v1")


def test_a_server_that_is_still_starting_is_waited_for():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UsageError, match=r"nothing listens at 127\.0\.0\.1:\d+") as caught:
        ask(None, url=url)
    assert "start the server" in caught.value.remedy


def test_https_to_a_port_of_http_is_named(server):
    with pytest.raises(UsageError, match="no https connection") as caught:
        ask(server, url=server.url.replace("http:", "https:"))
    assert f"give {server.url}" in caught.value.remedy


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """The URL of a server that speaks https with a certificate of its own."""
    crypto = pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    assert crypto
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = (
        made.not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1_000)

    threading.Thread(target=serve, daemon=True).start()
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    yield f"https://localhost:{listener.getsockname()[1]}/v1"
    listener.close()


def test_a_certificate_that_nobody_signed_is_named_with_the_remedy(certified):
    with pytest.raises(UsageError, match="certificate of localhost cannot be verified") as caught:
        ask(None, url=certified)
    assert "SSL_CERT_FILE" in caught.value.remedy


def test_http_to_a_port_of_https_is_named(certified):
    with pytest.raises(UsageError, match="write https:// in the URL"):  # the connection ends without a word
        ask(None, url=certified.replace("https:", "http:"))


def test_an_answer_in_tls_to_plain_http_is_named_at_once():
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        connection.recv(100_000)
        connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n")
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    with listener, pytest.raises(UsageError, match="speaks https"):
        ask(None, url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1")


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
