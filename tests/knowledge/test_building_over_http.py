"""A full interview against a real server on loopback: made, stopped, gone on with, replayed."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from chat_server import slowly
from oracles import as_bytes

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.check import STRATEGIES, problems
from dmun_audit.knowledge.interview.interview import RELATIONS
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.knowledge.reading import read_dossier

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
    assert read_dossier(tmp_path / "made.json") == dossier if as_bytes(dossier, tmp_path) else False


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
    first = as_bytes(build_dossier(brief, asking), tmp_path)
    asked = len(chat.requests)
    assert as_bytes(build_dossier(brief, asking), tmp_path) == first
    assert len(chat.requests) == asked


def test_concurrency_changes_nothing(brief, asking, chat, tmp_path):
    first = as_bytes(build_dossier(brief, asking), tmp_path)
    wide = replace(asking, settings=replace(asking.settings, concurrency=8), transcript=tmp_path / "wide.transcript.jsonl")
    assert as_bytes(build_dossier(brief, wide), tmp_path) == first


def test_a_transcript_replays_without_the_server(brief, asking, tmp_path):
    first = as_bytes(build_dossier(brief, asking), tmp_path)
    replayed = replace(asking, reference=parse_language_model(f"transcript:{asking.transcript}"))
    assert as_bytes(build_dossier(brief, replayed), tmp_path) == first
    lines = asking.transcript.read_text().splitlines()
    asking.transcript.write_text("\n".join(lines[:-3]) + "\n")
    with pytest.raises(UsageError, match="does not hold all answers"):
        build_dossier(brief, replayed)


# Leaving early.


def test_ctrl_c_gives_up_questions_under_way_at_once(chat, tmp_path):
    chat.fail_next(slowly(120))
    command = [sys.executable, "-m", "dmun_audit.cli", "dossier", "build", "Van Gogh", f"--llm={chat.url}#oracle"]
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - what a shell starts in the background ignores it
    build = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    while not chat.requests and build.poll() is None:
        time.sleep(0.05)
    started = time.monotonic()
    build.send_signal(signal.SIGINT)
    said = build.communicate(timeout=60)[1]
    assert time.monotonic() - started < 10
    assert build.returncode == 2
    assert "interrupted; run the same command again to continue" in said
    assert "Traceback" not in said


def test_work_that_swallows_its_cancellation_is_cancelled_again():
    import asyncio

    from dmun_audit.knowledge.language_models.background import as_they_come

    async def stubborn(arrived):
        arrived("first")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    started = time.monotonic()
    results = as_they_come(stubborn)
    assert next(results) == "first"
    results.close()
    assert time.monotonic() - started < 30  # a guard against waiting for it, no measure of speed


# Going on.


def test_a_killed_build_leaves_half_a_line_and_loses_nothing_else(brief, asking, chat, tmp_path):
    whole = as_bytes(build_dossier(brief, asking), tmp_path)
    asked = chat.answered
    data = asking.transcript.read_bytes()
    asking.transcript.write_bytes(data[: len(data) - 37])
    assert as_bytes(build_dossier(brief, asking), tmp_path) == whole
    assert chat.answered == asked + 1
    assert as_bytes(build_dossier(brief, asking), tmp_path) == whole
    assert chat.answered == asked + 1


def test_two_builds_do_not_write_one_transcript(brief, asking):
    with (
        asking.opened(),
        pytest.raises(UsageError, match="written by another command"),
    ):
        build_dossier(brief, asking)
