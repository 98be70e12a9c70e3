"""The small question before many: what it measures, what it says, what it refuses, and that no dossier depends on it."""

import json
import re
import time
from dataclasses import replace

import pytest
from chat_server import keeps_to_schema, send, serving
from oracles import as_bytes

from dmun_audit._util.errors import UsageError
from dmun_audit.cli import main
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.interview.expected_questions import (
    expected_attack,
    expected_interview,
    expected_looks,
    expected_ordering,
    expected_refinement,
)
from dmun_audit.knowledge.interview.interview import RELATIONS
from dmun_audit.knowledge.language_models import preflight as module
from dmun_audit.knowledge.language_models.additions import Additions
from dmun_audit.knowledge.language_models.preflight import (
    COUNT,
    WORDS,
    Limits,
    PreflightResult,
    QuestionPlan,
    about,
    announce,
    form_of,
    preflight,
    round_number,
)
from dmun_audit.knowledge.language_models.protocol import Answer, Settings
from dmun_audit.knowledge.language_models.reference import endpoint_of, parse_language_model
from dmun_audit.knowledge.language_models.server_facts import ServerFacts, facts_of
from dmun_audit.knowledge.packs import open_knowledge

KEY = "sk-very-secret-0123456789"
PLAN = QuestionPlan(questions=27, tokens_in=20_000, tokens_out=40_000, longest=3_000)


@pytest.fixture
def build(chat, tmp_path, monkeypatch, capsys):
    """Runs `dossier build` against the server; gives its exit code and what it wrote to standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*options, llm=None):
        command = ["dossier", "build", "Van Gogh", f"--llm={llm or f'{chat.url}#oracle'}", "-o", "made.json", "--repeats=1"]
        return main([*command, *options]), capsys.readouterr().err

    return run


# What is said.


def test_one_line_says_what_the_interview_takes(build, chat):
    code, output = build("--price-in=1", "--price-out=10")
    assert code == 0, output
    line = output.splitlines()[0].strip()
    said = re.fullmatch(
        r"oracle: (\d+) questions, about ([\d,]+) tokens, (?:less than a minute|about \d+ minutes?), about \$(\d\.\d\d)", line
    )
    assert said, output
    assert int(said[1]) == expected_interview(1).questions
    assert 5_000 < int(said[2].replace(",", "")) < 60_000
    assert len(chat.preflights) == 1


def test_the_number_of_questions_is_that_of_the_interview(build, chat):
    """What is asked again, and siblings that are asked for when concepts are few, come on top."""
    assert build()[0] == 0
    first = [body for body in chat.requests if len(body["messages"]) == 2]
    assert expected_interview(1).questions <= len(first) <= expected_interview(1).questions + 2
    assert expected_interview(4).questions == expected_interview(1).questions + 6
    assert expected_interview(1).questions > len(RELATIONS) + len(module.WORDS)


def test_the_estimate_of_tokens_is_near_what_is_sent_and_answered(build, chat, known):
    assert build()[0] == 0
    plan = expected_interview(1)
    first = [body for body in chat.requests if len(body["messages"]) == 2]
    sent = sum(len(turn["content"]) for body in first for turn in body["messages"]) / 4
    assert 0.8 < plan.tokens_in / sent < 1.25
    answered = sum(len(chat.answer(body)) for body in first) / 4
    assert 0.6 < plan.tokens_out / answered < 1.7


def test_other_commands_say_what_they_ask():
    church = open_knowledge("church")
    assert expected_ordering(3, 20).questions == 6
    assert expected_looks(20, 4).questions == 20
    assert expected_attack(5, 8).questions == 5
    assert expected_refinement(2, church).questions == 2
    assert expected_looks(20, 4).tokens_in > 20 * 4 * 100


@pytest.mark.parametrize(
    ("limits", "facts", "words"),
    [
        (Limits(price_in=2.0, price_out=8.0), ServerFacts(), ", about $0.36"),
        (Limits(price_out=8.0), ServerFacts(None, 9.0, 9.0), ", about $0.32"),
        (Limits(), ServerFacts(None, 3.0, 15.0), ", about $0.66"),
        (Limits(), ServerFacts(None, 0.0, 0.0), ", free of charge"),
        (Limits(price_in=0.01), ServerFacts(), ", less than $0.01"),
        (Limits(), ServerFacts(), ""),
    ],
)
def test_dollars_are_the_users_or_the_servers_or_not_said(limits, facts, words, access):
    lines = []
    with access.open_transcript() as transcript:
        announce(PreflightResult(1.0, 100, "schema", facts=facts), PLAN, transcript, limits, lines.append)
    assert lines == [f"oracle: 27 questions, about 60,000 tokens, about 7 minutes{words}"]


def test_the_time_follows_from_the_speed():
    slow, fast = PreflightResult(20.0, 100, "schema"), PreflightResult(1.0, 100, "schema")
    assert slow.tokens_per_second == 5
    assert slow.minutes(PLAN) == pytest.approx(20 * fast.minutes(PLAN))
    assert replace(slow, parallel=4).minutes(PLAN) == pytest.approx(slow.minutes(PLAN) / 4)
    assert 100 < slow.minutes(PLAN) < 42_000 * 20 / 100 / 60


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "less than a minute"),
        (50, "about 1 minute"),
        (400, "about 7 minutes"),
        (5_000, "about 83 minutes"),
        (18_000, "about 5 hours"),
    ],
)
def test_durations_are_rounded(seconds, words):
    assert about(seconds) == words


@pytest.mark.parametrize(("number", "words"), [(7, "7"), (99, "99"), (123, "120"), (14_234, "14,000"), (1_987_000, "2,000,000")])
def test_numbers_are_rounded(number, words):
    assert round_number(number) == words


def test_a_slow_model_is_told_what_would_help_and_refused_over_the_limit(build, chat, monkeypatch):
    oracle = chat.answer_preflight

    def slowly(body):
        time.sleep(0.3)
        return oracle(body)

    chat.answer_preflight = slowly  # 20 tokens, as the server counts them
    monkeypatch.setattr(module, "SLOW", 0.5)
    code, output = build("--max-minutes=1")
    assert code == 4
    assert re.search(
        r"would need about \d minutes?\n  why:  it gives \d\d(\.\d)? tokens a second, and --max-minutes allows 1", output
    )
    assert "fewer --repeats" in output
    assert not chat.requests
    code, output = build()
    assert code == 0
    assert "that is slow" in output
    assert len(chat.preflights) == 1


def test_the_limit_of_minutes_holds_for_a_dossier_to_start_from(build, chat, monkeypatch):
    monkeypatch.setattr(PreflightResult, "minutes", lambda self, plan: plan.questions / 10)
    code, output = build("--start-from=van-gogh", "--max-minutes=1")
    assert code == 4
    assert "'oracle' could need about 2 minutes\n" in output
    assert not chat.requests
    code, output = build("--start-from=van-gogh", "--max-minutes=9")
    assert code == 0
    assert f"oracle: at most {expected_interview(1).questions} questions, about " in output


# The schema.

KEPT = json.dumps({"words": [WORDS[1]] * COUNT})


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (KEPT, "schema"),
        ("<think>{hm}</think>\n```json\n" + json.dumps({"words": list(WORDS) * (COUNT // len(WORDS))}) + "\n```", "schema"),
        ("<reasoning>{}</reasoning>" + KEPT, "schema"),
        ("[THINK]{}[/THINK]" + KEPT, "schema"),
        ("<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>" + KEPT, "schema"),
        ("<think>" + KEPT, "none"),
        (json.dumps({"words": [WORDS[1]] * (COUNT - 1)}), "json"),
        (json.dumps({"words": [WORDS[1]] * COUNT, "note": "x"}), "json"),
        (json.dumps({"words": ["apple", "pear"] * (COUNT // 2)}), "json"),
        (json.dumps({"words": "apple"}), "json"),
        ("{}", "json"),
        ("{" * 100 + '{"words": []}', "none"),
        ("apple, pear", "none"),
        ('["apple"]', "none"),
        ("", "none"),
    ],
)
def test_how_far_an_answer_keeps_to_the_schema(text, form):
    assert form_of(Answer(text)) == form
    assert form_of(Answer(text, end="length")) == "unknown"


def test_the_words_of_the_schema_are_not_in_the_question():
    body = module.TEXT + module.SYSTEM
    assert not any(word in body for word in WORDS)


def test_a_server_that_ignores_the_schema_is_told(build, chat):
    chat.answer_preflight = lambda body: json.dumps({"words": ["apple"] * COUNT})
    code, output = build()
    assert code == 0
    assert "does not keep to a JSON schema" in output


@pytest.mark.parametrize("text", ["I would rather not say.", ""])
def test_a_model_that_answers_without_json_is_told_at_once(build, chat, text):
    chat.answer_preflight = lambda body: text
    code, output = build()
    assert code == 4
    assert "does not answer in JSON" in output
    assert "--no-preflight" in output
    assert not chat.requests
    assert build("--no-preflight")[0] == 0


def test_a_mended_server_is_asked_again(build, chat, tmp_path):
    good, chat.answer_preflight = chat.answer_preflight, lambda body: "I would rather not say."
    assert build()[0] == 4
    assert list(tmp_path.iterdir()) == []  # another model may take the place of this one
    chat.answer_preflight = good
    assert build()[0] == 0
    assert len(chat.preflights) == 2


def test_a_useless_answer_that_an_older_transcript_holds_is_not_used(build, chat, tmp_path):
    assert build()[0] == 0
    transcript = tmp_path / "made.transcript.jsonl"
    lines = [json.loads(line) for line in transcript.read_text().splitlines()]
    assert "seconds" in lines[1]
    lines[1]["text"] = "no"
    transcript.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answered = len(chat.requests)
    assert build("--force")[0] == 0
    assert (len(chat.preflights), len(chat.requests)) == (2, answered)


# Failures.


def test_a_server_that_is_not_there_is_told_at_once(build, tmp_path):
    started = time.monotonic()
    code, output = build(llm="http://127.0.0.1:9/v1#m")
    assert code == 4
    assert "the language model cannot be reached at http://127.0.0.1:9/v1" in output
    assert time.monotonic() - started < 10
    assert list(tmp_path.iterdir()) == []


def test_a_named_server_that_is_not_there_is_told_with_what_starts_it(build, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    assert "Ollama cannot be reached at http://127.0.0.1:9/v1\n" in (output := build(llm="ollama:llama3.1")[1])
    assert "ollama serve" in output


@pytest.mark.parametrize(
    ("status", "reason", "key", "what"),
    [
        (401, "sorry", KEY, "did not accept the key"),
        (403, "sorry", KEY, "did not accept the key"),
        (401, "no such key", "", "wants a key"),
        (404, "Not Found", KEY, "does not know this path or model"),
        (404, "The model `oracle` does not exist.", KEY, "does not know the model 'oracle'"),
        (400, "sorry", KEY, "refused the question"),
    ],
)
def test_a_server_that_refuses_says_what_it_refuses_before_the_interview(build, chat, monkeypatch, status, reason, key, what):
    monkeypatch.setenv("DMUN_LLM_API_KEY", key)
    chat.answer_preflight = None
    chat.answer = None
    chat.fail_next(*[lambda handler, body: send(handler, json.dumps({"error": {"message": reason}}).encode(), status)] * 12)
    code, output = build()
    assert code == 4
    assert f"ERROR: the {'language model' if status == 400 else 'server'} at {chat.url} {what}" in output
    assert reason in output
    assert KEY not in output
    if status != 400:  # a server is asked in plainer forms after that
        assert len(chat.requests) == 1


def test_a_model_without_speed_of_its_own_is_asked_once_more(access, chat, monkeypatch):
    """A server may load the model for the first answer."""
    monkeypatch.setattr(module, "SLOW_START", 0.3)
    waits = [0.5, 0.0]

    def loading(body):
        time.sleep(waits.pop(0))
        return keeps_to_schema(body)

    chat.answer_preflight = loading
    with access.open_transcript() as transcript:
        result = preflight(transcript, 4, 0.7)
    assert result.seconds < 0.4
    assert len(chat.preflights) == 2
    assert chat.preflights[0]["seed"] != chat.preflights[1]["seed"]


def test_questions_open_at_once_help_a_service_and_not_this_machine(access):
    with access.open_transcript() as transcript:
        assert preflight(transcript, 4, 0.7).parallel == 1


# Kept, and without a trace in the dossier.


def test_the_dossier_is_the_same_with_and_without_it_and_when_replayed(build, chat, tmp_path):
    made = tmp_path / "made.json"
    assert build()[0] == 0
    first, asked = made.read_bytes(), len(chat.requests)
    code, output = build("--force")
    assert code == 0
    assert "oracle: all answers are in the transcript; no question was asked" in output
    assert (len(chat.preflights), len(chat.requests)) == (1, asked)
    assert made.read_bytes() == first
    assert json.loads(first)["provenance"]["questions"] == asked
    code, output = build("--force", llm="transcript:made.transcript.jsonl")
    assert code == 0
    assert "questions, about" not in output
    assert made.read_bytes() == first
    (tmp_path / "made.transcript.jsonl").unlink()
    assert build("--force", "--no-preflight")[0] == 0
    assert len(chat.preflights) == 1
    assert made.read_bytes() == first


def test_an_interview_that_goes_on_says_what_is_left_and_what_is_done(build, chat, tmp_path, monkeypatch):
    from dmun_audit.knowledge.interview import progress

    code, output = build()
    assert code == 0
    assert "in the transcript" not in output
    transcript = tmp_path / "made.transcript.jsonl"
    lines = transcript.read_text().splitlines(keepends=True)
    answers = [line for line in lines if '"key"' in line and '"seconds"' not in line]
    lost = len(answers) - 12
    transcript.write_text("".join(line for line in lines if line not in answers[-lost:]))
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    code, output = build("--force")
    assert code == 0
    kept, planned = len(answers) - lost, expected_interview(1).questions
    assert re.search(
        rf"oracle: {kept} answers are in the transcript; about {planned - kept} questions are left, about [\d,]+ tokens, less than",
        output,
    )
    counted = [int(done) for done in re.findall(r"(\d+) of about \d+ answers", output)]
    assert len(counted) == lost
    assert counted == sorted(counted)
    assert counted[-1] == len(answers)
    assert "no question was asked" not in output


def test_the_plan_of_what_is_left_shrinks_with_the_answers():
    assert PLAN.without(0) == PLAN
    assert PLAN.without(18) == QuestionPlan(questions=9, tokens_in=6_667, tokens_out=13_333, longest=3_000)
    assert PLAN.without(99) == QuestionPlan(questions=0, tokens_in=0, tokens_out=0, longest=3_000)


def test_a_transcript_without_one_replays_too(brief, access, chat, tmp_path):
    first = as_bytes(build_dossier(brief, access), tmp_path)
    with access.open_transcript() as transcript:
        preflight(transcript, 1, 0.7)
        assert transcript.facts()["questions"] == 0
    assert as_bytes(build_dossier(brief, access), tmp_path) == first


def test_a_vision_language_model_is_asked_too(chat, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    chat.answer_preflight = lambda body: "no" if body["model"] == "eyes" else keeps_to_schema(body)
    command = ["dossier", "build", "Van Gogh", f"--llm={chat.url}#oracle", f"--vlm={chat.url}#eyes", "--base=atelier:base"]
    assert main([*command, "--repeats=1"]) == 4
    assert "'eyes' does not answer in JSON" in capsys.readouterr().err
    assert not chat.requests  # the interview with the other model has not begun


# What servers tell of themselves.


def facts(chat, text=None, pages=None, **additions):
    chat.pages |= pages or {}
    return facts_of(endpoint_of(parse_language_model(text or f"{chat.url}#m"), Additions(**additions)))


@pytest.fixture
def server():
    """A server whose pages a test sets."""
    with serving(lambda body: "{}") as chat:
        yield chat


@pytest.mark.parametrize(
    ("pages", "context"),
    [
        ({"/v1/models": {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 8192}]}}, 8192),
        ({"/v1/models": {"data": [{"id": "m", "context_length": 32768}]}}, 32768),
        ({"/v1/models": [{"id": "m", "context_length": 4096}]}, 4096),
        (
            {
                "/v1/models": {"data": [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx_train": 32768}}]},
                "/props": {"default_generation_settings": {"n_ctx": 2048}},
            },
            2048,
        ),
        ({"/props": {"default_generation_settings": {"n_ctx": 2048}}}, 2048),
        ({"/info": {"max_total_tokens": 4096}}, 4096),
        (
            {
                "/v1/models": {"data": [{"id": "m", "owned_by": "library"}]},
                "/api/ps": {"models": [{"name": "other", "context_length": 9}, {"name": "m:latest", "context_length": 4096}]},
            },
            4096,
        ),
        (
            {
                "/v1/models": {"data": [{"id": "m", "owned_by": "library"}]},
                "/api/ps": {"models": []},
                "/api/show": {"parameters": 'stop    "x"\nnum_ctx    8192\n', "model_info": {"llama.context_length": 131072}},
            },
            8192,
        ),
        (
            {
                "/v1/models": {"data": [{"id": "m", "owned_by": "organization_owner"}]},
                "/api/v0/models/m": {"id": "m", "loaded_context_length": 4096, "max_context_length": 131072},
            },
            4096,
        ),
        ({"/v1/models": {"data": [{"id": "other", "max_model_len": 8192}]}}, None),
        ({"/v1/models": {"data": [{"id": "m", "max_model_len": "many"}]}}, None),
        ({"/v1/models": {"data": [{"id": "m", "max_model_len": True}]}}, None),
        ({"/props": "nothing", "/info": [5]}, None),
        ({}, None),
    ],
)
def test_the_context_is_what_the_server_tells(server, pages, context):
    assert facts(server, pages=pages).context == context


def test_a_named_server_is_asked_in_its_own_way(server, monkeypatch):
    monkeypatch.setenv("TGI_BASE_URL", server.url)
    pages = {"/info": {"max_total_tokens": 4096}, "/props": {"default_generation_settings": {"n_ctx": 7}}}
    assert facts(server, "tgi:m", pages).context == 4096


@pytest.mark.parametrize(
    ("pricing", "prices"),
    [
        ({"prompt": "0.000003", "completion": "0.000015"}, (3.0, 15.0)),
        ({"input": 0.18, "output": 0.18, "hourly": 0}, (0.18, 0.18)),
        ({"prompt": "-1", "completion": "-1"}, (None, None)),
        ({"prompt": "free", "completion": "1"}, (None, None)),
        ({"input": 1}, (None, None)),
        ("cheap", (None, None)),
        (None, (None, None)),
    ],
)
def test_prices_are_what_the_server_lists(server, pricing, prices):
    told = facts(server, pages={"/v1/models": {"data": [{"id": "m", "pricing": pricing}]}})
    assert (told.price_in, told.price_out) == tuple(price and pytest.approx(price) for price in prices)


def test_a_server_that_tells_nothing_or_is_gone_costs_little(server):
    started = time.monotonic()
    assert facts(server, "http://127.0.0.1:9/v1#m") == ServerFacts()
    assert time.monotonic() - started < 3


def test_a_context_that_is_too_short_is_told(build, chat):
    chat.pages["/props"] = {"default_generation_settings": {"n_ctx": 1024}}
    code, output = build()
    assert code == 0
    assert re.search(r"the server reads 1,024 tokens, and the longest question needs about [\d,]+ with its answer", output)


def test_a_model_of_another_package_has_a_preflight_too(tmp_path, monkeypatch, capsys):
    from installed_packages import install

    from dmun_audit.knowledge.language_models.registered import GROUP

    source = """
        from dmun_audit.knowledge.language_models.protocol import Answer

        class Silent:
            backend, model, unsupported_parameters = "silent", "silent", []
            def __init__(self, reference, settings): pass
            def ask(self, questions):
                for index, _ in enumerate(questions):
                    yield index, Answer("…")
            def release(self): pass
    """
    install(tmp_path / "packages", monkeypatch, "silent_models", source, {GROUP: {"silent": "Silent"}})
    monkeypatch.chdir(tmp_path)
    assert main(["dossier", "order", "church", "--llm=silent:x", "-o", "o.json"]) == 4
    assert "'silent' does not answer in JSON" in capsys.readouterr().err


def test_an_unanswered_preflight_ends_after_the_time_limit(access, chat):
    def slowly(body):
        time.sleep(1.5)
        return keeps_to_schema(body)

    chat.answer_preflight = slowly
    impatient = replace(access, settings=Settings(timeout=0.3, concurrency=1))
    with impatient.open_transcript() as transcript, pytest.raises(UsageError, match="did not answer"):
        preflight(transcript, 1, 0.7)
