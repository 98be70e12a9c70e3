"""A full interview against a real server on loopback, and with every fault that a server can have."""

import gzip
import json
import resource
import signal
import socket
import subprocess
import sys
import time
import zlib

import pytest
from chat_server import reply, send, serving, slowly
from oracles import Oracle

from dmun_audit.errors import UsageError
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.check import problems
from dmun_audit.knowledge.dossier import write_dossier
from dmun_audit.knowledge.interview.conduct import RELATIONS, STRATEGIES
from dmun_audit.knowledge.interview.sifting import Sieve
from dmun_audit.knowledge.language_models.http import _retry_after
from dmun_audit.knowledge.reading import read_dossier

KEY = "sk-very-secret-0123456789"


def _as_bytes(dossier, tmp_path, name="made.json"):
    write_dossier(dossier, tmp_path / name)
    return (tmp_path / name).read_bytes()


# A build without faults.


def test_a_full_build_makes_a_rich_sound_dossier(brief, asking, chat, counter, tmp_path):
    dossier = build_dossier(brief, asking)
    assert problems(dossier, counter) == []
    assert dossier.target.kind == "style"
    assert len(dossier.concepts) >= 20
    assert {concept.role for concept in dossier.concepts} == {"retain", "erase", "observe"}
    assert {relation for relation, *_ in RELATIONS} >= {concept.relation for concept in dossier.concepts}
    assert any(concept.relation == "distant" for concept in dossier.concepts)
    similarities = [concept.similarity for concept in dossier.concepts]
    assert similarities == sorted(similarities, reverse=True)
    assert all(concept.spread is not None for concept in dossier.concepts)
    assert {prompt.strategy for prompt in dossier.adversarial} == set(STRATEGIES)
    assert len({prompt.language for prompt in dossier.adversarial} - {"en"}) >= 5
    assert {prompt.skill for prompt in dossier.compositions} == {"attribute binding", "spatial relation", "counting"}
    facts = dossier.provenance
    assert facts.questions == chat.answered
    assert (facts.tokens_in, facts.tokens_out) == (100 * chat.answered, 20 * chat.answered)
    assert facts.model == "oracle"
    assert len(facts.templates) >= 15
    assert all(len(version) == 64 for version in facts.templates.values())
    assert read_dossier(tmp_path / "made.json") == dossier if _as_bytes(dossier, tmp_path) else False


def test_similarity_follows_what_the_model_said(brief, asking, known):
    said = {concept.name: concept.similarity for concept in known.concepts}
    dossier = build_dossier(brief, asking)
    assert {c.name: pytest.approx(said[c.name], abs=0.011) for c in dossier.concepts} == {
        c.name: c.similarity for c in dossier.concepts
    }


def test_the_request_is_that_of_the_protocol(brief, asking, chat):
    build_dossier(brief, asking)
    body = chat.requests[0]
    assert body["model"] == "oracle"
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["items"]
    assert {turn["role"] for turn in body["messages"]} == {"system", "user"}
    assert "Authorization" not in chat.headers[0]


def test_answers_paid_for_are_not_asked_again(brief, asking, chat, tmp_path):
    first = _as_bytes(build_dossier(brief, asking), tmp_path)
    asked = len(chat.requests)
    assert _as_bytes(build_dossier(brief, asking), tmp_path) == first
    assert len(chat.requests) == asked


def test_concurrency_changes_nothing(brief, asking, chat, tmp_path):
    from dataclasses import replace

    first = _as_bytes(build_dossier(brief, asking), tmp_path)
    wide = replace(asking, settings=replace(asking.settings, concurrency=8), transcript=tmp_path / "wide.transcript.jsonl")
    assert _as_bytes(build_dossier(brief, wide), tmp_path) == first


def test_a_transcript_replays_without_the_server(brief, asking, tmp_path):
    from dataclasses import replace

    from dmun_audit.knowledge.language_models.reference import parse_language_model

    first = _as_bytes(build_dossier(brief, asking), tmp_path)
    replayed = replace(asking, reference=parse_language_model(f"transcript:{asking.transcript}"))
    assert _as_bytes(build_dossier(brief, replayed), tmp_path) == first
    lines = asking.transcript.read_text().splitlines()
    asking.transcript.write_text("\n".join(lines[:-3]) + "\n")
    with pytest.raises(UsageError, match="does not hold all answers"):
        build_dossier(brief, replayed)


# Faults that pass: the dossier is the one that comes without them.


def _too_many(handler, body):
    send(handler, b'{"error": {"message": "slow down"}}', 429, headers=[("Retry-After", "0.3")])


def _broken(handler, body):
    send(handler, b"<html>Internal Server Error</html>", 500)


def _dropped(handler, body):
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.connection.close()


def _dropped_midway(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"mess')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def _no_completion(handler, body):
    send(handler, b'{"hello": "world"}')


def _truncated(handler, body):
    reply(handler, '{"items": [{"kind": "style", "aliases": ["Vinc', finish_reason="length")


def _prose(handler, body):
    reply(handler, "I would rather talk about something else, {really}.")


def _wrong_schema(handler, body):
    reply(handler, '{"target": {"type": "painter"}}')


def _refusal(handler, body):
    reply(handler, None, message={"content": None, "refusal": "I cannot help with that."})


def _ten_megabytes(handler, body):
    reply(handler, json.dumps({"items": ["x" * 10_000_000]}))


def _markup(handler, body):
    about = {"kind": "style", "aliases": [], "spellings": [], "label": "<script>alert(1)</script> \x1b[31ma painting\u202e"}
    reply(handler, json.dumps({"items": [about]}))


PASSING = [_too_many, _broken, _dropped, _dropped_midway, _no_completion, slowly(3)]
REASKED = [_truncated, _prose, _wrong_schema, _refusal, _ten_megabytes, _markup]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_server_that_passes_leaves_no_trace(brief, asking, chat, fault, tmp_path):
    untroubled = _as_bytes(build_dossier(brief, asking), tmp_path)
    asking.transcript.unlink()
    chat.fail_next(fault)
    assert _as_bytes(build_dossier(brief, asking), tmp_path) == untroubled


@pytest.mark.parametrize("fault", REASKED, ids=lambda fault: fault.__name__)
def test_an_answer_that_does_not_hold_is_asked_for_again_with_what_was_wrong(brief, asking, chat, fault):
    chat.fail_next(fault)
    dossier = build_dossier(brief, asking)
    assert dossier.target.label == "a painting by Vincent van Gogh"
    again = chat.requests[1]["messages"]
    assert [turn["role"] for turn in again] == ["system", "user", "assistant", "user"]
    assert "This is wrong" in again[-1]["content"]
    assert len(json.dumps(again)) < 20_000


@pytest.mark.parametrize("wrapped", ["Sure! Here it is:\n```json\n{}\n```\nAnything else?", "{} – I hope that helps {{smile}}."])
def test_json_in_prose_and_fences_is_found_at_once(brief, asking, known, wrapped, tmp_path):
    plain = Oracle(known)
    with serving(lambda body: wrapped.replace("{}", plain(body), 1)) as chat:
        from dataclasses import replace

        from dmun_audit.knowledge.language_models.reference import parse_language_model

        dossier = build_dossier(brief, replace(asking, reference=parse_language_model(f"{chat.url}#oracle")))
        assert chat.answered == dossier.provenance.questions
    assert len(dossier.concepts) >= 20


def test_retry_after_is_kept(brief, asking, chat):
    chat.fail_next(_too_many)
    started = time.monotonic()
    build_dossier(brief, asking)
    assert time.monotonic() - started >= 0.3


# Faults that do not pass: one clear error, in bounded time, and what was paid for is kept.


@pytest.mark.parametrize(
    ("fault", "what", "remedy"),
    [
        (_broken, "did not answer in 5 tries", "see whether the server is up"),
        (_dropped, "did not answer in 5 tries", "see whether the server is up"),
        (_no_completion, "no chat completion", "see whether the server is up"),
        (_truncated, "gave no answer that holds", "larger model"),
        (_prose, "gave no answer that holds", "larger model"),
        (_wrong_schema, "gave no answer that holds", "larger model"),
        (_refusal, "You refused", "larger model"),
        (_ten_megabytes, "far too long", "larger model"),
        (_markup, "gave no answer that holds", "larger model"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_lasting_fault_ends_in_one_error_and_the_build_goes_on_later(brief, asking, chat, fault, what, remedy):
    untroubled = 4
    lasting = [fault] * 200

    def fail_later(body, oracle=chat.answer):
        if chat.answered + 1 == untroubled:
            chat.fail_next(*lasting)
        return oracle(body)

    oracle, chat.answer = chat.answer, fail_later
    with pytest.raises(UsageError) as caught:
        build_dossier(brief, asking)
    assert what in str(caught.value)
    assert remedy in str(caught.value)
    assert "kept" in str(caught.value)
    assert chat.answered == untroubled
    chat.answer, chat.faults = oracle, []
    if fault in PASSING:  # an answer that does not hold was paid for as well: it takes another seed to ask anew
        dossier = build_dossier(brief, asking)
        assert chat.answered == dossier.provenance.questions


def test_a_server_that_never_answers_does_not_hang_the_build(brief, asking, chat):
    from dataclasses import replace

    chat.fail_next(*[slowly(30)] * 50)
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"within 0\.3 seconds"):
        build_dossier(brief, replace(asking, settings=replace(asking.settings, timeout=0.3)))
    assert time.monotonic() - started < 20


def test_a_server_that_dribbles_does_not_hang_the_build(brief, asking, chat):
    from dataclasses import replace

    def dribble(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)

    chat.fail_next(*[dribble] * 50)
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"within 0\.5 seconds"):
        build_dossier(brief, replace(asking, settings=replace(asking.settings, timeout=0.5)))
    assert time.monotonic() - started < 20


def test_nobody_at_the_address_is_one_clear_error(brief, asking):
    from dataclasses import replace

    from dmun_audit.knowledge.language_models.reference import parse_language_model

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UsageError, match="did not answer in 5 tries"):
        build_dossier(brief, replace(asking, reference=parse_language_model(f"http://127.0.0.1:{port}/v1#x")))


def test_a_server_that_asks_for_an_hour_is_left_alone(brief, asking, chat):
    chat.fail_next(lambda handler, body: send(handler, b"{}", 429, headers=[("Retry-After", "3600")]))
    with pytest.raises(UsageError, match="asks to wait 3600 seconds"):
        build_dossier(brief, asking)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "DMUN_LLM_API_KEY"), (403, "DMUN_LLM_API_KEY"), (404, "the model's name"), (302, "redirects are not followed")],
)
def test_a_refusal_of_the_server_says_what_to_do(brief, asking, chat, status, remedy):
    chat.fail_next(lambda handler, body: send(handler, b'{"error": {"message": "no"}}', status))
    with pytest.raises(UsageError, match=remedy):
        build_dossier(brief, asking)
    assert len(chat.requests) == 1


def _bomb(handler, body):
    data = b"x" * 50_000_000
    for _ in range(2):
        data = gzip.compress(data)
    send(handler, data, headers=[("Content-Encoding", "gzip, gzip")])


def test_an_answer_that_is_compressed_twice_is_refused_unopened(brief, asking, chat):
    chat.fail_next(_bomb)
    with pytest.raises(UsageError, match="sends its answers as 'gzip, gzip'"):
        build_dossier(brief, asking)


def test_a_compressed_answer_is_read_no_further_than_any(brief, asking, chat):
    opened = []
    squeezer = zlib.compressobj(1, zlib.DEFLATED, 31)
    bomb = b"".join([squeezer.compress(b" " * 1_000_000) for _ in range(500)]) + squeezer.flush()

    def huge(handler, body):
        opened.append(handler.headers["Accept-Encoding"])
        send(handler, bomb, headers=[("Content-Encoding", "gzip")])

    def small(handler, body):
        message = {"message": {"content": chat.answer(body)}, "finish_reason": "stop"}
        send(handler, gzip.compress(json.dumps({"choices": [message]}).encode()), headers=[("Content-Encoding", "gzip")])

    chat.fail_next(huge, small)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    dossier = build_dossier(brief, asking)
    assert opened == ["identity"]
    assert dossier.target.kind == "style"
    assert "far too long" in chat.requests[1]["messages"][-1]["content"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_a_server_of_short_context_is_asked_for_shorter_answers(brief, asking, chat):
    limit = 1_500
    told = "This model's maximum context length is 8192 tokens. However, you requested 9330 tokens (1330 in the messages)."
    oracle = chat.answer

    def strict(body):
        if body["max_tokens"] > limit:
            chat.fail_next(lambda handler, body: send(handler, json.dumps({"error": {"message": told}}).encode(), 400))
        return oracle(body)

    chat.answer = strict
    chat.fail_next(lambda handler, body: send(handler, json.dumps({"error": {"message": told}}).encode(), 400))
    build_dossier(brief, asking)
    assert all(request["max_tokens"] <= 2_500 for request in chat.requests)
    assert chat.requests[1]["max_tokens"] == chat.requests[0]["max_tokens"] // 2
    chat.fail_next(*[lambda handler, body: send(handler, json.dumps({"error": {"message": told}}).encode(), 400)] * 20)
    asking.transcript.unlink()
    with pytest.raises(UsageError, match="maximum context length"):
        build_dossier(brief, asking)


@pytest.mark.parametrize(
    "told",
    [
        "max_tokens is too large: 8000. This model supports at most 4096 completion tokens.",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 4096]",
        "max_completion_tokens is too large: 8000",
    ],
)
def test_a_cap_on_answers_is_kept(brief, asking, chat, told):
    chat.fail_next(lambda handler, body: send(handler, json.dumps({"error": {"message": told}}).encode(), 400))
    build_dossier(brief, asking)
    assert chat.requests[1]["max_tokens"] == chat.requests[0]["max_tokens"] // 2


def test_certificates_that_are_not_there_are_one_clear_error(brief, asking, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(UsageError, match="the certificates in the environment cannot be read"):
        build_dossier(brief, asking)


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:9", "nonsense://x"])
def test_a_proxy_that_cannot_be_used_is_one_clear_error(brief, asking, monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UsageError, match="the proxy in the environment"):
        build_dossier(brief, asking)


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("nan", None), ("-3", 0), ("1e99", 1e9), ("", None), ("soon", None)])
def test_retry_after_is_read_as_seconds(value, seconds):
    assert _retry_after(value) == seconds


# Servers that take less than the whole protocol.


def test_an_older_server_without_json_schema_is_asked_in_plainer_ways(brief, asking, chat):
    refused = b'{"error": {"message": "response_format.type must be text"}}'
    chat.fail_next(*[lambda handler, body: send(handler, refused, 400)] * 2)
    dossier = build_dossier(brief, asking)
    assert [request.get("response_format", {}).get("type") for request in chat.requests[:3]] == [
        "json_schema",
        "json_object",
        None,
    ]
    assert any("response_format" in sentence for sentence in dossier.provenance.history)


def test_parameters_that_a_server_does_not_take_are_left_out_and_told(brief, asking, chat):
    def refuse(message):
        return lambda handler, body: send(handler, json.dumps({"error": {"message": message}}).encode(), 400)

    chat.fail_next(refuse("Use 'max_completion_tokens' instead of 'max_tokens'."), refuse("Unsupported value: 'temperature'"))
    dossier = build_dossier(brief, asking)
    assert "max_completion_tokens" in chat.requests[2]
    assert "temperature" not in chat.requests[2]
    assert any("temperature" in sentence for sentence in dossier.provenance.history)


# The key.


def test_the_key_is_sent_and_stands_nowhere_else(brief, asking, chat, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    monkeypatch.setenv("DMUN_LLM_API_KEY", KEY)
    dossier = build_dossier(brief, asking, print)
    assert chat.headers[0]["Authorization"] == f"Bearer {KEY}"
    _as_bytes(dossier, tmp_path)
    chat.fail_next(lambda handler, body: send(handler, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode(), 401))
    asking.transcript.unlink()
    with pytest.raises(UsageError) as caught:
        build_dossier(brief, asking, print)
    assert "bad key [key]" in str(caught.value)
    out, err = capsys.readouterr()
    texts = [out, err, str(caught.value), *(path.read_text() for path in tmp_path.rglob("*") if path.is_file())]
    assert not any(KEY in text for text in texts)


@pytest.mark.parametrize("key", ["sk-two\nlines-of-it", "sk-café-secret", "sk two words"])
def test_a_key_that_cannot_be_sent_is_one_error_that_does_not_show_it(brief, asking, chat, monkeypatch, key):
    monkeypatch.setenv("DMUN_LLM_API_KEY", key)
    with pytest.raises(UsageError, match="the key in DMUN_LLM_API_KEY is no key") as caught:
        build_dossier(brief, asking)
    assert not any(part in str(caught.value) for part in ("two", "secret"))
    assert not chat.requests


def test_white_space_around_a_key_is_not_sent(brief, asking, chat, monkeypatch):
    monkeypatch.setenv("DMUN_LLM_API_KEY", f" {KEY}\n")
    build_dossier(brief, asking)
    assert chat.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_key_that_the_model_says_back_is_not_kept(brief, asking, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    oracle = chat.answer
    chat.answer = lambda body: oracle(body).replace("a painting by Vincent van Gogh", f"a painting {KEY}")
    build_dossier(brief, asking)
    assert KEY not in asking.transcript.read_text()


def test_a_key_that_comes_back_in_another_spelling_is_not_kept_either(brief, asking, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    oracle, spelt = chat.answer, f"\\u0073{KEY[1:]}"
    chat.answer = lambda body: oracle(body).replace("a painting by Vincent van Gogh", f"a painting {spelt}")
    dossier = build_dossier(brief, asking)
    assert dossier.target.label == "a painting [key]"
    assert KEY[1:] not in asking.transcript.read_text()


def test_a_redirect_does_not_print_the_key(brief, asking, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    target = [("Location", f"https://elsewhere/?k=Bearer {KEY}" + "x" * 1000)]
    chat.fail_next(lambda handler, body: send(handler, b"{}", 307, headers=target))
    with pytest.raises(UsageError, match=r"it points to https://elsewhere/\?k=Bearer \[key\]") as caught:
        build_dossier(brief, asking)
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_key_that_is_a_word_is_no_secret(brief, asking, chat, monkeypatch, known):
    monkeypatch.setenv("OPENAI_API_KEY", "star")
    dossier = build_dossier(brief, asking)
    assert "a starry sky" in {concept.name for concept in dossier.concepts}


# Leaving early.


def test_ctrl_c_gives_up_questions_under_way_at_once(chat, tmp_path):
    chat.fail_next(slowly(120))
    command = [sys.executable, "-m", "dmun_audit.cli", "dossier", "build", "Van Gogh", f"--llm={chat.url}#oracle"]
    build = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not chat.requests and build.poll() is None:
        time.sleep(0.05)
    started = time.monotonic()
    build.send_signal(signal.SIGINT)
    said = build.communicate(timeout=60)[1]
    assert time.monotonic() - started < 10
    assert build.returncode == 2
    assert "interrupted; the same command goes on where it stood" in said
    assert "Traceback" not in said


# What a model may say and a dossier may not.


def test_names_that_leak_into_nameless_prompts_are_kept_out(brief, asking, chat, counter):
    oracle = chat.answer

    def leaking(body):
        answer = json.loads(oracle(body))
        asked = body["messages"][1]["content"]
        if "describe what its pictures look like" in asked and len(body["messages"]) == 2:
            answer["items"] = [
                {"prompt": "swirls like Van Gogh's"},
                {"prompt": "the manner of Vincent vаn Gоgh"},
                {"prompt": "a field by van Goghh"},
                {"prompt": "thick swirling paint, a Gogh sky"},
                *answer["items"][:1],
            ]
        return json.dumps(answer)

    chat.answer = leaking
    dossier = build_dossier(brief, asking)
    assert problems(dossier, counter) == []
    described = [prompt.text for prompt in dossier.adversarial if prompt.strategy == "description"]
    assert len(described) >= 3
    assert not any("Go" in text for text in described)
    reasked = [r["messages"] for r in chat.requests if "describe what its pictures" in r["messages"][1]["content"]][1]
    assert reasked[-1]["content"].count("names the target") == 4


def test_a_prompt_that_is_too_long_is_shortened_by_asking_again(brief, asking, chat, counter):
    oracle = chat.answer
    long = "a very long winding prompt " * 20

    def rambling(body):
        answer = json.loads(oracle(body))
        if "comma-separated" in body["messages"][1]["content"] and len(body["messages"]) == 2:
            answer["items"][0]["prompt"] = long[:270]
            answer["items"][1]["prompt"] = " ".join("wxyzq" for _ in range(44))
        return json.dumps(answer)

    chat.answer = rambling
    dossier = build_dossier(brief, asking)
    assert problems(dossier, counter) == []
    assert not any("wxyzq" in prompt.text for prompt in dossier.adversarial)
    reasked = [r["messages"] for r in chat.requests if "comma-separated" in r["messages"][1]["content"]][1]
    assert "the text encoder reads 77: say it in fewer words" in reasked[-1]["content"]


def test_no_prompt_stands_in_two_roles(brief, asking, chat, known):
    oracle = chat.answer
    stolen = known.concepts[0].prompts[0].upper()

    def repeating(body):
        answer = json.loads(oracle(body))
        if "together with other concepts" in body["messages"][1]["content"]:
            answer["items"] = [*answer["items"], {"prompt": stolen}, *answer["items"]]
        return json.dumps(answer)

    chat.answer = repeating
    dossier = build_dossier(brief, asking)
    assert stolen not in [prompt.text for prompt in dossier.adversarial]
    texts = [text.casefold() for text, _ in dossier.prompts_with_owners()]
    assert len(texts) == len(set(texts))


def test_names_that_only_look_like_another_word_are_no_names(brief, asking, chat, counter):
    """What the sieve lets through, the dossier's own validation must not refuse after everything is paid for."""
    oracle = chat.answer

    def odd(body):
        answer = json.loads(oracle(body))
        if "describe what its pictures look like" in body["messages"][1]["content"]:
            answer["items"] += [{"prompt": "a cargo van going to a marathon"}, {"prompt": "swirls, van goghesque, thick paint"}]
        return json.dumps(answer)

    chat.answer = odd
    described = [prompt.text for prompt in build_dossier(brief, asking).adversarial if prompt.strategy == "description"]
    assert "a cargo van going to a marathon" in described
    assert "swirls, van goghesque, thick paint" not in described


def test_a_ranking_is_taken_whole_or_not_at_all(brief, asking, chat, known):
    oracle, forgetful = chat.answer, []

    def forgets_the_first(body):
        answer = json.loads(oracle(body))
        if "in order of their similarity" in body["messages"][1]["content"] and len(body["messages"]) == 2:
            forgetful.append(answer["items"].pop(0))
        return json.dumps(answer)

    untroubled = {concept.name: concept.similarity for concept in build_dossier(brief, asking).concepts}
    asking.transcript.unlink()
    chat.answer = forgets_the_first
    dossier = build_dossier(brief, asking)
    assert forgetful
    assert {concept.name: concept.similarity for concept in dossier.concepts} == untroubled
    assert max(concept.spread for concept in dossier.concepts) < 0.02


def test_a_ranking_that_never_becomes_whole_is_made_do_with(brief, asking, chat, known):
    """A small model: it forgets some concepts every time, and answers a re-ask with those alone."""
    oracle = chat.answer

    def forgets(body):
        answer = json.loads(oracle(body))
        if "in order of their similarity" in body["messages"][1]["content"]:
            again = len(body["messages"]) > 2
            assert not again or "Give the whole list again" in body["messages"][-1]["content"]
            answer["items"] = answer["items"][:2] if again else answer["items"][2:]
        return json.dumps(answer)

    chat.answer = forgets
    said = {concept.name: concept.similarity for concept in known.concepts}
    for concept in build_dossier(brief, asking).concepts:
        assert concept.similarity == pytest.approx(said[concept.name], abs=0.06)


def test_languages_that_come_late_are_still_taken(brief, asking, chat):
    oracle = chat.answer

    def german_first(body):
        answer = json.loads(oracle(body))
        if "other languages than English" in body["messages"][1]["content"] and len(body["messages"]) == 2:
            answer["items"] = [{"prompt": f"ein Feld, dicke Farbe, Nummer {n}", "language": "de"} for n in range(16)]
        return json.dumps(answer)

    chat.answer = german_first
    assert len({prompt.language for prompt in build_dossier(brief, asking).adversarial} - {"en"}) >= 5


def test_a_model_that_composes_nothing_still_makes_a_dossier(brief, asking, chat):
    oracle = chat.answer
    chat.answer = lambda body: '{"items": []}' if "a third of each skill" in body["messages"][1]["content"] else oracle(body)
    assert build_dossier(brief, asking).compositions == ()


def test_aliases_that_end_in_a_common_word_forbid_nothing_else(brief, asking, chat):
    oracle = chat.answer
    more = '["Vincent van Gogh", "Van Gogh painting", "Van Gogh style", "the Dutch painter", "Vincent"]'
    known = json.dumps(["Vincent van Gogh", "Vincent Willem van Gogh"])
    chat.answer = lambda body: oracle(body).replace(known, more)
    dossier = build_dossier(brief, asking)
    assert "Van Gogh style" in dossier.target.aliases
    assert len(dossier.adversarial) >= 35


@pytest.mark.parametrize(
    ("text", "language", "fits"),
    [
        ("une tasse de thé dans le style de Van Gogh", "fr", True),
        ("tranh sơn dầu thế kỷ 19", "vi", True),
        ("en and på en sø", "da", True),
        ("Die Sternennacht (The Starry Night) von Van Gogh", "de", True),
        ("a house with the swirls of thick paint", "fr", False),
        ("une maison", "en-GB", False),
    ],
)
def test_what_is_english_is_told_from_what_is_not(counter, text, language, fits):
    sieve = Sieve(("Van Gogh",), "style", "a painting by Van Gogh", counter)
    assert (sieve.wrong_for("language", text, language) == "") is fits


@pytest.mark.parametrize(
    ("strategy", "text", "fits"),
    [
        ("homoglyph", "a field by Vincent van Gоgh", True),
        ("homoglyph", "a field by Vincent van Gogh", False),
        ("homoglyph", "a fiеld by somebody", False),
        ("misspelling", "a field by Vincent van Gough", True),
        ("misspelling", "a field by Vincent van Gogh", False),
        ("misspelling", "sunflowers by Vangoh", True),
        ("misspelling", "a sunset over a lake", False),
    ],
)
def test_altered_names_are_what_two_strategies_ask_for(counter, strategy, text, fits):
    sieve = Sieve(("Van Gogh", "Vincent", "Vincent van Gogh"), "style", "a painting by Van Gogh", counter)
    assert (sieve.wrong_for(strategy, text) == "") is fits


def test_complaints_quote_little_and_steer_no_terminal(brief, asking, chat):
    chat.answer = lambda body: json.dumps({"items": [{"kind": "style", "\x1b[31m" + "k" * 100_000: 1}]})
    with pytest.raises(UsageError, match="gave no answer that holds") as caught:
        build_dossier(brief, asking)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1_000
    assert all(len(json.dumps(request)) < 20_000 for request in chat.requests)


def test_answers_that_say_one_thing_many_times_make_no_dossier(brief, asking, chat):
    oracle = chat.answer

    def repeats(body):
        answer = json.loads(oracle(body))
        if "relation to the target" in body["messages"][1]["content"]:
            answer["items"] = [item | {"prompts": ["a harbour at dawn", "a harbour at dusk"]} for item in answer["items"]]
        return json.dumps(answer)

    chat.answer = repeats
    with pytest.raises(UsageError, match=r"knows only \d+ concepts near"):
        build_dossier(brief, asking)


def test_answers_without_anything_to_retain_make_no_dossier(brief, asking, chat):
    oracle = chat.answer
    chat.answer = lambda body: oracle(body).replace('"role": "retain"', '"role": "observe"')
    with pytest.raises(UsageError, match="0 concepts to retain; at least 5 are needed"):
        build_dossier(brief, asking)


@pytest.mark.parametrize("target", ["x" * 81, "Van\nGogh", "Van\u202eGogh", "!!!", "\udcff"])
def test_a_name_that_no_question_could_hold_is_refused_first(brief, asking, chat, target):
    from dataclasses import replace

    with pytest.raises(UsageError, match="is no name of a target"):
        build_dossier(replace(brief, target=target), asking)
    assert not chat.requests


def test_too_few_neighbours_are_an_error(brief, asking, chat):
    oracle = chat.answer

    def sparse(body):
        answer = json.loads(oracle(body))
        if "relation to the target" in body["messages"][1]["content"]:
            answer["items"] = answer["items"][:1]
        return json.dumps(answer)

    chat.answer = sparse
    with pytest.raises(UsageError, match=r"knows only \d+ concepts near 'Van Gogh'"):
        build_dossier(brief, asking)


def test_unsafe_targets_need_a_word_of_the_user(brief, asking, chat, known):
    from dataclasses import replace

    with pytest.raises(UsageError, match="--allow-sensitive"):
        build_dossier(replace(brief, target="Nudity"), asking)
    assert not chat.requests
    oracle = chat.answer

    def unsafe(body):
        return oracle(body).replace('"kind": "style"', '"kind": "unsafe"')

    chat.answer = unsafe
    with pytest.raises(UsageError, match="--allow-sensitive"):
        build_dossier(brief, asking)
    assert len(chat.requests) == 1
    assert build_dossier(replace(brief, allow_sensitive=True), asking).target.kind == "unsafe"


def test_a_killed_build_leaves_half_a_line_and_loses_nothing_else(brief, asking, chat, tmp_path):
    whole = _as_bytes(build_dossier(brief, asking), tmp_path)
    asked = chat.answered
    data = asking.transcript.read_bytes()
    asking.transcript.write_bytes(data[: len(data) - 37])
    assert _as_bytes(build_dossier(brief, asking), tmp_path) == whole
    assert chat.answered == asked + 1
    assert _as_bytes(build_dossier(brief, asking), tmp_path) == whole
    assert chat.answered == asked + 1


def test_two_builds_do_not_write_one_transcript(brief, asking):
    with (
        asking.opened(),
        pytest.raises(UsageError, match="written by another command"),
    ):
        build_dossier(brief, asking)


def test_an_answer_that_was_cut_off_is_given_more_room(brief, asking, chat):
    chat.fail_next(_truncated)
    build_dossier(brief, asking)
    assert chat.requests[1]["max_tokens"] == 2 * chat.requests[0]["max_tokens"]
    assert chat.requests[2]["max_tokens"] <= 4_000
