"""Options, headers and parameters that the user adds to every request: sent, recorded where they are no secrets, kept apart."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from oracles import as_bytes

from dmun_audit._util.errors import UsageError
from dmun_audit.cli import build_parser, main
from dmun_audit.cli.dossier.language_model_options import access_to
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.interview.completion import Start
from dmun_audit.knowledge.language_models.additions import Additions, options_in_words, read_additions
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import open_language_model, parse_language_model
from dmun_audit.knowledge.language_models.secret_values import hider, looks_secret
from dmun_audit.knowledge.reading import read_dossier

SECRET = "gate-opener-0123456789"
REFERENCE = parse_language_model("http://127.0.0.1:9/v1#m")


def read(*options, headers=(), query=(), name="llm"):
    return read_additions(options, headers, query, name)


# Options.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("reasoning_effort=low", "low"),
        ("temperature=1", 1),
        ("num_ctx=8192", 8192),
        ("top_p=0.9", 0.9),
        ("think=false", False),
        ("stop=null", None),
        ('provider={"require_parameters": true}', {"require_parameters": True}),
        ('stop=["a", "b"]', ["a", "b"]),
        ("a=b=c", "b=c"),
        ("x=NaN", "NaN"),
        ('x="5"', "5"),
        ("x={half", "{half"),
        ("x=", ""),
    ],
)
def test_a_value_is_json_or_else_text(text, value):
    ((_, read_value),) = read(text).options.items()
    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["reasoning_effort"], "needs NAME=VALUE"),
        (["=low"], "needs NAME=VALUE"),
        (["a b=1"], "is no name of an option"),
        (["a=1", "a=2"], "is given twice"),
        (["model=gpt"], "model cannot be set"),
        (["Messages=[]"], "Messages cannot be set"),
        (["stream=true"], "stream cannot be set"),
        (["max_tokens=5"], r"max_tokens cannot be set[\s\S]*use --max-tokens"),
        (["seed=5"], r"seed cannot be set[\s\S]*use --seed"),
        (["x=" + "y" * 2_000], "is too long"),
    ],
)
def test_an_option_without_sense_is_one_error(texts, message):
    with pytest.raises(UsageError, match=message):
        read(*texts)


@pytest.mark.parametrize(
    "text",
    [
        "api_key=sk-0123456789abcdef",
        "user=sk-proj-0123456789abcdef",
        'metadata={"note": {"password": "correct horse battery"}}',
        "x=0123456789abcdef0123456789abcdef",
        'x=["Bearer abcdefgh"]',
    ],
)
def test_an_option_that_looks_like_a_secret_is_refused_and_not_shown(text):
    with pytest.raises(UsageError, match=r"looks like a secret[\s\S]*--llm-header NAME=env:VARIABLE") as caught:
        read(text)
    assert text.partition("=")[2] not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reasoning_effort", "minimal"),
        ("OpenAI-Organization", "org-AbCdEf0123456789"),
        ("api-version", "2024-10-01-preview"),
        ("HTTP-Referer", "https://example.com/a/long/page/of/a/project"),
        ("X-Title", "dmun_audit of the autumn release"),
        ("lora", "meta-llama/Llama-3.1-8B-Instruct"),
        ("thinking_budget_tokens", "1024"),
        ("X-Author", "Wilhelmina Drost"),
        ("author_name", "Vincent van Gogh"),
    ],
)
def test_ordinary_values_do_not_look_like_secrets(name, value):
    assert not looks_secret(name, value)


@pytest.mark.parametrize(("name", "value"), [("code", "aB3dEfGh-JkLmN0pQ"), ("X-Client", "1f0e2d3c-aaaa-4bbb-8ccc-123456789abc")])
def test_more_is_hidden_in_texts_than_looks_secret(name, value):
    hide = hider(Endpoint("http://127.0.0.1:1/v1", "m", query={name: value}))
    assert hide(f"at {value}") == "at [key]"


def test_options_are_sent_with_every_question_and_recorded(brief, access, chat, tmp_path):
    options = read("reasoning_effort=low", "temperature=1").options
    with_options = replace(access, additions=Additions(options))
    dossier = build_dossier(brief, with_options)
    assert {request["reasoning_effort"] for request in chat.requests} == {"low"}
    assert {request["temperature"] for request in chat.requests} == {1}
    answers = f"The answers of oracle with the SHA-256 {dossier.provenance.transcript[:12]}"
    assert dossier.provenance.history == (f'{answers} came with reasoning_effort="low", temperature=1.',)
    first, asked = as_bytes(dossier, tmp_path), len(chat.requests)
    assert as_bytes(build_dossier(brief, with_options), tmp_path) == first
    replayed = replace(access, reference=parse_language_model(f"transcript:{access.transcript}"))
    assert as_bytes(build_dossier(brief, replayed), tmp_path) == first
    assert len(chat.requests) == asked


@pytest.mark.parametrize(("first", "second"), [({}, {"a": 1}), ({"a": 1}, {}), ({"a": 1}, {"a": 2}), ({"a": 1}, {"a": "1"})])
def test_other_options_do_not_share_a_transcript(brief, access, chat, first, second):
    build_dossier(brief, replace(access, additions=Additions(first)))
    asked = len(chat.requests)
    with pytest.raises(UsageError, match="holds answers that came with other options") as caught:
        build_dossier(brief, replace(access, additions=Additions(second)))
    assert caught.value.why == f"they came with {options_in_words(first)}"
    assert len(chat.requests) == asked


def test_each_sentence_of_options_names_its_own_answers(brief, access, known):
    old = known.model_copy(update={"orderings": ()})
    for number, top_p in enumerate((0.5, 0.9)):
        transcript = access.transcript.with_name(f"{number}.jsonl")
        own = replace(access, additions=Additions({"top_p": top_p}), transcript=transcript, seed=number)
        old = build_dossier(brief, own, start=Start(old, "old.json")).model_copy(update={"orderings": ()})
    first, second = (helper.transcript[:12] for helper in old.provenance.helpers)
    assert first != second
    assert [sentence for sentence in old.provenance.history if "top_p" in sentence] == [
        f"The answers of oracle with the SHA-256 {first} came with top_p=0.5.",
        f"The answers of oracle with the SHA-256 {second} came with top_p=0.9.",
    ]


def test_without_options_a_transcript_has_no_word_of_them(brief, access):
    build_dossier(brief, access)
    assert "options" not in json.loads(access.transcript.read_text().splitlines()[0])


@pytest.mark.parametrize("text", ["transformers:nowhere", "transcript:made.jsonl"])
def test_options_go_with_requests_over_http_only(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.jsonl").write_text("")
    reference = parse_language_model(text)
    if reference.kind == "transcript":  # its own options count
        assert open_language_model(reference, Settings(), Additions({"a": 1})) is None
        return
    with pytest.raises(UsageError, match="takes no options, headers or query"):
        open_language_model(reference, Settings(), Additions({"a": 1}))


# Headers and parameters.


def test_headers_and_parameters_are_sent_and_stand_nowhere(brief, access, chat, monkeypatch, tmp_path, capsys):
    secret_file = tmp_path / "secrets" / "gate"
    secret_file.parent.mkdir()
    secret_file.write_text("from-a-file-0123456789\n")
    monkeypatch.setenv("GATE", SECRET)
    headers = ["X-Gate=env:GATE", "X-Project=mine", f"X-Second=file:{secret_file}"]
    additions = read(headers=headers, query=["api-version=2024-10-21", "sig=env:GATE"])
    assert SECRET not in repr(additions)
    work = tmp_path / "work"
    work.mkdir()
    oracle = chat.answer
    chat.answer = lambda body: oracle(body).replace(
        "a painting by Vincent van Gogh", "a painting by Vincent van Gogh from-a-file-0123456789"
    )
    transcript = work / "vg.transcript.jsonl"
    dossier = build_dossier(brief, replace(access, additions=additions, transcript=transcript), print)
    as_bytes(dossier, work)
    sent = {name.casefold(): value for name, value in chat.headers[0].items()}
    assert (sent["x-gate"], sent["x-project"], sent["x-second"]) == (SECRET, "mine", "from-a-file-0123456789")
    assert chat.paths[0] == f"/v1/chat/completions?api-version=2024-10-21&sig={SECRET}"
    texts = [*capsys.readouterr(), *(path.read_text() for path in work.rglob("*") if path.is_file())]
    assert not any(SECRET in text or "from-a-file" in text for text in texts)
    assert dossier.target.label == "a painting by Vincent van Gogh [key]"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("X-Gate=env:NOT_SET_ANYWHERE", "the variable NOT_SET_ANYWHERE is not set"),
        ("X-Gate=file:nowhere", "nowhere cannot be read"),
        ("X-Gate=file:.", "cannot be read"),
        (f"X-Auth={SECRET}", "looks like a secret"),
        (f"X-Api-Key={SECRET}", r"looks like a secret[\s\S]*X-Api-Key=env:VARIABLE"),
        (f"Authorization=Bearer {SECRET}", "looks like a secret"),
        ("X-Gate=ghp_0123456789abcdefghij", "looks like a secret"),
        ("X Gate=1", "cannot be sent"),
        ("Host=elsewhere", "cannot be sent"),
        ("content-length=5", "cannot be sent"),
        ("X-Gate=a\nb", "cannot be sent"),
        ("X-Gate", "needs NAME=VALUE"),
    ],
)
def test_a_header_without_sense_is_one_error_that_shows_no_secret(header, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        read(headers=[header])
    assert SECRET not in str(caught.value)
    assert "0123456789abcdefghij" not in str(caught.value)


def test_a_header_of_the_user_takes_the_place_of_the_key(brief, access, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    monkeypatch.setenv("GATE", f"Basic {SECRET}")
    build_dossier(brief, replace(access, additions=read(headers=["authorization=env:GATE"])))
    sent = [value for name, value in chat.headers[0].items() if name.casefold() == "authorization"]
    assert sent == [f"Basic {SECRET}"]


# On the command line.


def test_the_options_of_the_command_line_reach_the_requests(chat, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATE", SECRET)
    command = ["dossier", "build", "Van Gogh", f"--llm={chat.url}#oracle", "-o", "made.json", "--repeats=1", "--max-tokens=900"]
    more = ["--llm-option", "reasoning_effort=low", "--llm-option=top_k=5", "--llm-header=X-Gate=env:GATE", "--llm-query=v=2"]
    assert main([*command, *more]) == 0, capsys.readouterr().err
    assert all(body["reasoning_effort"] == "low" and body["top_k"] == 5 for body in [*chat.preflights, *chat.requests])
    assert max(body["max_tokens"] for body in chat.requests) == 900
    assert set(chat.paths) == {"/v1/chat/completions?v=2"}
    facts = read_dossier(tmp_path / "made.json").provenance
    sentence = f'The answers of oracle with the SHA-256 {facts.transcript[:12]} came with reasoning_effort="low", top_k=5.'
    assert sentence in facts.history
    output = "".join(capsys.readouterr())
    assert not any(SECRET in text for text in [output, *(path.read_text() for path in tmp_path.iterdir())])


def test_the_model_of_vlm_has_additions_of_its_own(monkeypatch):
    monkeypatch.setenv("GATE", SECRET)
    words = ["dossier", "order", "church", "-o", "o.json", "--llm=vllm:a", "--vlm=vllm:b", "--base=atelier:base"]
    arguments = build_parser().parse_args(
        [*words, "--llm-option=think=true", "--vlm-option=detail=high", "--vlm-header=X-Gate=env:GATE"]
    )
    output = Path("o.json")
    llm, vlm = access_to(arguments, REFERENCE, output), access_to(arguments, REFERENCE, output, "vlm")
    assert (llm.additions.options, llm.additions.headers, llm.additions.sees_images) == ({"think": True}, {}, False)
    assert (vlm.additions.options, vlm.additions.headers) == ({"detail": "high"}, {"X-Gate": SECRET})
    assert vlm.additions.sees_images


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--max-tokens=100", "--max-tokens=100 makes no sense"),
        ("--max-minutes=-1", "--max-minutes=-1.0 makes no sense"),
        ("--price-in=nan", "--price-in=nan makes no sense"),
        ("--llm-option=seed=1", "--llm-option seed cannot be set"),
        ("--vlm-header=X-Key=sk-0123456789abcdef", "--vlm-header X-Key looks like a secret"),
    ],
)
def test_an_option_without_sense_is_refused_before_anything_is_asked(option, message, chat, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["dossier", "build", "Van Gogh", f"--llm={chat.url}#oracle", f"--vlm={chat.url}#eyes", "--base=atelier:base"]
    assert main([*command, option]) == 4
    assert message in capsys.readouterr().err
    assert not chat.requests
    assert not chat.preflights
    assert list(tmp_path.iterdir()) == []
