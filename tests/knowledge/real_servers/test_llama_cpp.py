"""llama.cpp's own server with its real JSON-schema grammar: a tiny random model under it gives valid JSON of nonsense."""

import json
import re
import time

import jsonschema
import pytest
import real_servers
from tiny_gguf import save_llama_gguf

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.interview import answers
from dmun_audit.knowledge.interview.answers import answer_schema
from dmun_audit.knowledge.language_models.protocol import Message, Question

pytestmark = pytest.mark.slow

ITEM_TYPES = [
    item_type
    for item_type in vars(answers).values()
    if isinstance(item_type, type) and issubclass(item_type, answers._Item) and item_type is not answers._Item
]
MOST_QUESTIONS = 1 + 4 * 30  # of an interview: every question of its first rounds four times
LONGEST_INTERVIEW = 300  # seconds; 10 on an idle machine
UNREADABLE = "unparsed peg-native output"


def _question(schema, text="Go on.", *, seed=1, tokens=4_000, earlier=()):
    return Question((Message("system", "Answer."), *earlier, Message("user", text)), schema, 0.8, seed, tokens)


def _answers(model, questions):
    by_index = dict(model.ask(questions))
    return [by_index[index] for index in range(len(questions))]


def _json(text):
    """The JSON of an answer, which may stand in a fence: llama.cpp's grammar allows one."""
    return json.loads(re.sub(r"^```json|```$", "", text.strip()))


def test_every_item_type_is_written_as_its_schema_says(llama_cpp, open_model):
    schemas = [answer_schema(item_type, 1, 8) for item_type in ITEM_TYPES]
    replies = _answers(open_model(llama_cpp), [_question(schema) for schema in schemas])
    for schema, answer in zip(schemas, replies, strict=True):
        assert answer.end == "stop"
        jsonschema.validate(_json(answer.text), schema)
        assert answer.tokens_in > 10 < answer.tokens_out


def test_every_schema_that_an_interview_sends_is_honoured(llama_cpp, open_model, chat, brief, access):
    build_dossier(brief, access)
    sent = {json.dumps(body["response_format"]["json_schema"]["schema"], sort_keys=True) for body in chat.requests}
    assert len(sent) >= 8
    schemas = [json.loads(text) for text in sorted(sent)]
    for schema, answer in zip(schemas, _answers(open_model(llama_cpp), [_question(schema) for schema in schemas]), strict=True):
        assert answer.end == "stop"
        jsonschema.validate(_json(answer.text), schema)


def test_the_grammar_was_never_refused_in_silence(llama_cpp):
    assert "failed to parse grammar" not in llama_cpp.log.read_text(errors="replace")


def test_an_interview_with_nonsense_ends_in_one_honest_error(llama_cpp, brief, access_to):
    started = time.monotonic()
    with real_servers.recording(llama_cpp) as proxy:
        access = access_to(proxy)
        with pytest.raises(UsageError, match="the answers of 'tiny' about 'Van Gogh' hold no concept to retain"):
            build_dossier(brief, access)
    assert time.monotonic() - started < LONGEST_INTERVIEW
    assert 1 <= len(proxy.bodies) <= MOST_QUESTIONS
    answered = [json.loads(line) for line in access.transcript.read_text().splitlines()]
    for text in [line["text"] for line in answered if line.get("end") == "stop"]:
        assert isinstance(_json(text)["items"], list)


def test_an_answer_that_runs_out_of_tokens_says_so(llama_cpp, open_model):
    assert _answers(open_model(llama_cpp), [_question(answer_schema(answers.Neighbour, 2, 8), tokens=9)])[0].end == "length"


def test_the_seed_decides_the_answer(llama_cpp, open_model):
    schema = answer_schema(answers.PlainPrompt, 1, 8)
    texts = [_answers(open_model(llama_cpp), [_question(schema, seed=seed)])[0].text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_question_longer_than_the_context_is_one_clear_error(llama_cpp, open_model):
    with pytest.raises(UsageError, match="context") as caught:
        _answers(open_model(llama_cpp), [_question(answer_schema(answers.PlainPrompt, 1, 2), "word " * 20_000)])
    assert "16384" in str(caught.value)


def test_abandoned_questions_are_not_answered_to_their_end(llama_cpp, open_model):
    short, long = answer_schema(answers.PlainPrompt, 1, 1), answer_schema(answers.Neighbour, 200, 200)
    before = llama_cpp.count("cancel task")
    replies = open_model(llama_cpp).ask([_question(short), *(_question(long, tokens=15_000, seed=seed) for seed in range(3))])
    assert next(replies)[0] == 0
    replies.close()  # as Ctrl-C does
    deadline = time.monotonic() + 10
    while llama_cpp.count("cancel task") < before + 3:  # read from its log: questions about its slots would delay it
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Slow answers.


def test_the_time_limit_is_on_silence_and_not_on_length(llama_cpp, open_model):
    question = _question(answer_schema(answers.Neighbour, 60, 60), tokens=5_000)
    started = time.monotonic()
    answer = _answers(open_model(llama_cpp, timeout=1.0), [question])[0]
    assert answer.end == "length"
    assert answer.tokens_out == 5_000
    assert time.monotonic() - started > 1.0


@pytest.fixture(scope="module")
def one_slot(tiny_gguf, tmp_path_factory):
    """llama.cpp's server that answers one question at a time; the others wait in silence."""
    with real_servers.llama_cpp(tiny_gguf, tmp_path_factory.mktemp("one-slot") / "log.txt", slots=1, context=16_384) as running:
        yield running


def test_questions_that_wait_for_the_only_slot_are_all_answered(one_slot, open_model):
    long = answer_schema(answers.Neighbour, 60, 60)
    questions = [_question(long, tokens=3_000, seed=seed) for seed in range(4)]
    replies = _answers(open_model(one_slot, timeout=1.5), questions)
    assert [answer.end for answer in replies] == ["length"] * 4


# What the server itself cannot read.


@pytest.fixture(scope="module")
def odd_bytes(tmp_path_factory):
    """llama.cpp's server with a model whose texts are full of bytes that are no UTF-8."""
    folder = tmp_path_factory.mktemp("odd-bytes")
    with real_servers.llama_cpp(save_llama_gguf(folder / "odd.gguf", odd_bytes=True), folder / "log.txt") as running:
        yield running


def test_an_answer_that_the_server_cannot_read_is_an_invalid_answer(odd_bytes, open_model, brief, access_to):
    schema = answer_schema(answers.PlainPrompt, 1, 8)
    model = open_model(odd_bytes)
    replies = _answers(model, [_question(schema, seed=seed) for seed in range(24)])
    unreadable = odd_bytes.count(UNREADABLE)
    assert 0 < unreadable == sum(not answer.text for answer in replies)
    for answer in replies:
        if answer.text:  # the grammar is still asked for
            jsonschema.validate(_json(answer.text), schema)
    assert model.unsupported_parameters == []
    started = time.monotonic()
    with pytest.raises(UsageError, match="'odd' gave no valid answer about what the target is"):
        build_dossier(brief, access_to(odd_bytes))
    assert time.monotonic() - started < LONGEST_INTERVIEW
