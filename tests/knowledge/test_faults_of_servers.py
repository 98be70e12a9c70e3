"""Interviews with every fault of a server: each ends in the same dossier as without the fault, or in one clear error."""

import gzip
import json
import resource
import socket
import time
import zlib
from dataclasses import replace

import pytest
from chat_server import reply, send, serving, slowly
from oracles import Oracle, as_bytes

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.language_models.over_http.pauses import retry_after
from dmun_audit.knowledge.language_models.reference import parse_language_model

# Temporary faults: the dossier is the same as without them.


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


def _silent(handler, body):
    slowly(3)(handler, body)


TEMPORARY = [_too_many, _broken, _dropped, _dropped_midway, _no_completion, _silent]
INVALID = [_truncated, _prose, _wrong_schema, _ten_megabytes, _markup]


@pytest.mark.slow
@pytest.mark.parametrize("fault", TEMPORARY, ids=lambda fault: fault.__name__)
def test_a_temporary_fault_leaves_no_trace(brief, access, chat, fault, tmp_path):
    access = replace(access, settings=replace(access.settings, timeout=2.0)) if fault is _silent else access
    untroubled = as_bytes(build_dossier(brief, access), tmp_path)
    access.transcript.unlink()
    chat.fail_next(fault)
    assert as_bytes(build_dossier(brief, access), tmp_path) == untroubled


@pytest.mark.parametrize("fault", INVALID, ids=lambda fault: fault.__name__)
def test_an_invalid_answer_is_asked_for_again_with_its_problems(brief, access, chat, fault):
    chat.fail_next(fault)
    dossier = build_dossier(brief, access)
    assert dossier.target.label == "a painting by Vincent van Gogh"
    again = chat.requests[1]["messages"]
    assert [turn["role"] for turn in again] == ["system", "user", "assistant", "user"]
    assert "This is wrong" in again[-1]["content"]
    assert len(json.dumps(again)) < 20_000


def test_a_refused_question_is_asked_again_with_its_purpose(brief, access, chat):
    chat.fail_next(_refusal)
    assert build_dossier(brief, access).target.label == "a painting by Vincent van Gogh"
    again = chat.requests[1]["messages"]
    assert [turn["role"] for turn in again] == ["system", "user"]
    assert "Why this is asked" in again[-1]["content"]


@pytest.mark.parametrize("wrapped", ["Sure! Here it is:\n```json\n{}\n```\nAnything else?", "{} – I hope that helps {{smile}}."])
def test_json_in_prose_and_fences_is_found_at_once(brief, access, known, wrapped, tmp_path):
    plain = Oracle(known)
    with serving(lambda body: wrapped.replace("{}", plain(body), 1)) as chat:
        dossier = build_dossier(brief, replace(access, reference=parse_language_model(f"{chat.url}#oracle")))
        assert chat.answered == dossier.provenance.questions
    assert len(dossier.concepts) >= 20


def test_retry_after_is_honoured(brief, access, chat):
    chat.fail_next(_too_many)
    started = time.monotonic()
    build_dossier(brief, access)
    assert time.monotonic() - started >= 0.3


# Lasting faults: one clear error in bounded time, and the answers so far are kept.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "what", "remedy"),
    [
        (_broken, "did not answer in 5 tries", "see whether the server is up"),
        (_dropped, "did not answer in 5 tries", "see whether the server is up"),
        (_no_completion, "no chat completion", "see whether the server is up"),
        (_truncated, "hold no concept to retain", "larger model"),
        (_prose, "hold no concept to retain", "larger model"),
        (_wrong_schema, "hold no concept to retain", "larger model"),
        (_refusal, "hold no concept to retain", "larger model"),
        (_ten_megabytes, "hold no concept to retain", "larger model"),
        (_markup, "hold no concept to retain", "larger model"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_lasting_fault_ends_in_one_error_and_the_build_resumes_later(brief, access, chat, fault, what, remedy):
    untroubled = 4
    lasting = [fault] * 200

    def fail_later(body, oracle=chat.answer):
        if chat.answered + 1 == untroubled:
            chat.fail_next(*lasting)
        return oracle(body)

    oracle, chat.answer = chat.answer, fail_later
    with pytest.raises(UsageError) as caught:
        build_dossier(brief, access)
    assert what in str(caught.value)
    assert remedy in str(caught.value)
    assert "kept" in str(caught.value)
    assert chat.answered == untroubled
    chat.answer, chat.faults = oracle, []
    if fault in TEMPORARY:  # an invalid answer is kept too: it takes another seed to ask anew
        dossier = build_dossier(brief, access)
        assert chat.answered == dossier.provenance.questions


@pytest.mark.slow
def test_a_server_that_dribbles_does_not_hang_the_build(brief, access, chat):
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
    with pytest.raises(UsageError, match=r"within 0\.8 seconds \(4 times the time-out\)"):
        build_dossier(brief, replace(access, settings=replace(access.settings, timeout=0.2)))
    assert time.monotonic() - started < 10
    assert len(chat.requests) == 2


def _bomb(handler, body):
    data = b"x" * 50_000_000
    for _ in range(2):
        data = gzip.compress(data)
    send(handler, data, headers=[("Content-Encoding", "gzip, gzip")])


def test_an_answer_that_is_compressed_twice_is_refused(brief, access, chat):
    chat.fail_next(_bomb)
    with pytest.raises(UsageError, match="sends its answers as 'gzip, gzip'"):
        build_dossier(brief, access)


def test_a_compressed_answer_is_read_no_further_than_any(brief, access, chat):
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
    dossier = build_dossier(brief, access)
    assert opened == ["identity"]
    assert dossier.target.kind == "style"
    assert "far too long" in chat.requests[1]["messages"][-1]["content"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_certificates_that_are_not_there_are_one_clear_error(brief, access, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(UsageError, match="the certificates in the environment cannot be read"):
        build_dossier(brief, access)


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:9", "nonsense://x"])
def test_a_proxy_that_cannot_be_used_is_one_clear_error(brief, access, monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UsageError, match="the proxy in the environment"):
        build_dossier(brief, access)


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("nan", None), ("-3", 0), ("1e99", 1e9), ("", None), ("soon", None)])
def test_retry_after_is_read_as_seconds(value, seconds):
    assert retry_after(value) == seconds


def test_an_answer_that_was_cut_off_gets_more_tokens(brief, access, chat):
    chat.fail_next(_truncated)
    build_dossier(brief, access)
    assert chat.requests[1]["max_tokens"] == 2 * chat.requests[0]["max_tokens"]
    assert chat.requests[2]["max_tokens"] <= 4_000
