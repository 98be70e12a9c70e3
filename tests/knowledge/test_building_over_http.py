"""A full interview against a real server on loopback: built, interrupted, resumed, replayed."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from chat_server import reply, send, slowly
from oracles import as_bytes

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.check import STRATEGIES, problems
from dmun_audit.knowledge.interview.interview import RELATIONS
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.knowledge.reading import read_dossier

# A build without faults.


def test_a_full_build_makes_a_rich_sound_dossier(brief, access, chat, counter, tmp_path):
    dossier = build_dossier(brief, access)
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
    assert read_dossier(tmp_path / "made.json") == dossier if as_bytes(dossier, tmp_path) else False


def test_similarity_follows_the_models_answers(brief, access, known):
    similarity = {concept.name: concept.similarity for concept in known.concepts}
    dossier = build_dossier(brief, access)
    assert {c.name: pytest.approx(similarity[c.name], abs=0.011) for c in dossier.concepts} == {
        c.name: c.similarity for c in dossier.concepts
    }


def test_the_request_follows_the_protocol(brief, access, chat):
    build_dossier(brief, access)
    body = chat.requests[0]
    assert body["model"] == "oracle"
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["items"]
    assert {turn["role"] for turn in body["messages"]} == {"system", "user"}
    assert "Authorization" not in chat.headers[0]


def test_answers_in_the_transcript_are_not_asked_for_again(brief, access, chat, tmp_path):
    first = as_bytes(build_dossier(brief, access), tmp_path)
    requests = len(chat.requests)
    assert as_bytes(build_dossier(brief, access), tmp_path) == first
    assert len(chat.requests) == requests


@pytest.mark.slow
def test_concurrency_changes_nothing(brief, access, chat, tmp_path):
    first = as_bytes(build_dossier(brief, access), tmp_path)
    wide = replace(access, settings=replace(access.settings, concurrency=8), transcript=tmp_path / "wide.transcript.jsonl")
    assert as_bytes(build_dossier(brief, wide), tmp_path) == first


def test_a_transcript_replays_without_the_server(brief, access, tmp_path):
    first = as_bytes(build_dossier(brief, access), tmp_path)
    replayed = replace(access, reference=parse_language_model(f"transcript:{access.transcript}"))
    assert as_bytes(build_dossier(brief, replayed), tmp_path) == first
    lines = access.transcript.read_text().splitlines()
    access.transcript.write_text("\n".join(lines[:-3]) + "\n")
    with pytest.raises(UsageError, match="does not hold all answers"):
        build_dossier(brief, replayed)


def test_the_log_says_what_was_sent_answered_retried_and_rejected(brief, access, chat, caplog):
    caplog.set_level("DEBUG", "dmun_audit")
    chat.fail_next(lambda handler, body: send(handler, b"{}", 500), lambda handler, body: reply(handler, '{"items": []}'))
    build_dossier(brief, access)
    lines = [record.getMessage() for record in caplog.records]
    assert "question 1 of 1 sent to oracle" in lines
    assert any(re.fullmatch(r"status 500: .*: try 2 of 5 in \d+\.\d seconds", line) for line in lines)
    assert any(re.fullmatch(r"question 1 answered in \d+\.\d seconds: 100 tokens in, 20 out, end 'stop'", line) for line in lines)
    assert "what the target is, attempt 1: 0 valid items, 0 problems" in lines
    assert "what the target is, attempt 2: 1 valid items, 0 problems" in lines
    assert not any("a painting by Vincent van Gogh" in line for line in lines)


# Interruption.


@pytest.mark.slow
def test_ctrl_c_abandons_open_questions_at_once(chat, tmp_path):
    chat.fail_next(slowly(120))
    command = [sys.executable, "-m", "dmun_audit.cli", "dossier", "build", "Van Gogh", f"--llm={chat.url}#oracle"]
    accept_interrupts = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - background processes ignore SIGINT
    build = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=accept_interrupts)
    while not chat.requests and build.poll() is None:
        time.sleep(0.05)
    started = time.monotonic()
    build.send_signal(signal.SIGINT)
    message = build.communicate(timeout=60)[1]
    assert time.monotonic() - started < 10
    assert build.returncode == 2
    assert "interrupted; run the same command again to continue" in message
    assert "Traceback" not in message


def test_work_that_swallows_its_cancellation_is_cancelled_again():
    import asyncio

    from dmun_audit.knowledge.language_models.over_http.background import iterate_in_background

    async def stubborn(deliver):
        deliver("first")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    started = time.monotonic()
    results = iterate_in_background(stubborn)
    assert next(results) == "first"
    results.close()
    assert time.monotonic() - started < 30  # far below the 60 seconds that it would sleep


# Resumption.


def test_a_killed_build_leaves_half_a_line_and_loses_nothing_else(brief, access, chat, tmp_path):
    whole = as_bytes(build_dossier(brief, access), tmp_path)
    answered = chat.answered
    data = access.transcript.read_bytes()
    access.transcript.write_bytes(data[: len(data) - 37])
    assert as_bytes(build_dossier(brief, access), tmp_path) == whole
    assert chat.answered == answered + 1
    assert as_bytes(build_dossier(brief, access), tmp_path) == whole
    assert chat.answered == answered + 1


def test_two_builds_do_not_write_one_transcript(brief, access):
    with (
        access.open_transcript(),
        pytest.raises(UsageError, match=r"written by another command\n  why:  that command holds .*lock: two would mix"),
    ):
        build_dossier(brief, access)
