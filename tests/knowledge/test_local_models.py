"""Real chat models of transformers, small and with random weights: the constraint alone makes their answers valid."""

import io
import json
import os
import time

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tiny_models import save_llama, save_llama_vision

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.knowledge.build import LanguageModelAccess, build_dossier
from dmun_audit.knowledge.interview import answers
from dmun_audit.knowledge.interview.answers import answer_schema
from dmun_audit.knowledge.interview.reading.reading_answers import read_answer
from dmun_audit.knowledge.language_models import preflight
from dmun_audit.knowledge.language_models.local import TransformersModel
from dmun_audit.knowledge.language_models.protocol import Message, Question, Settings
from dmun_audit.knowledge.language_models.reference import parse_language_model

ITEM_TYPES = [
    item_type
    for item_type in vars(answers).values()
    if isinstance(item_type, type) and issubclass(item_type, answers._Item) and item_type is not answers._Item
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    return save_llama_vision(tmp_path_factory.mktemp("llama-vision"))


def _question(item_type, text="Go on.", images=(), seed=1, tokens=3_000):
    return Question(
        (Message("system", "Answer."), Message("user", text, images)), answer_schema(item_type, 1, 2), 0.8, seed, tokens
    )


def _picture(colour):
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(stream, format="PNG")
    return stream.getvalue()


def _answers(model, questions):
    by_index = dict(model.ask(questions))
    return [by_index[index] for index in range(len(questions))]


@pytest.mark.slow
def test_every_whole_answer_is_valid_for_every_item_type_of_the_interview(llama):
    model = TransformersModel(str(llama), Settings(batch=16))
    whole = 0
    for item_type, answer in zip(
        ITEM_TYPES, _answers(model, [_question(item_type, tokens=6_000) for item_type in ITEM_TYPES]), strict=True
    ):
        if answer.end == "stop":
            whole += 1
            reading = read_answer(answer.text, item_type)
            items, complaints = reading.items, reading.problems
            assert items or "markup" in complaints[0]
            assert all("markup" in line or "at least 1 character" in line or "at least 2 items" in line for line in complaints)
    assert whole >= len(ITEM_TYPES) - 1


def test_a_batch_answers_each_question_with_its_own_schema(llama):
    model = TransformersModel(str(llama), Settings(batch=4))
    questions = [
        _question(answers.NumberedRating),
        _question(answers.RankedNumber, "A much longer question, so that rows are padded."),
    ]
    rated, ranked = _answers(model, questions)
    assert read_answer(rated.text, answers.NumberedRating).items
    assert read_answer(ranked.text, answers.RankedNumber).items
    assert ranked.tokens_in > rated.tokens_in > 0
    assert rated.tokens_out > 0


def test_the_seed_decides_the_answer(llama):
    model = TransformersModel(str(llama), Settings())
    texts = [_answers(model, [_question(answers.PlainPrompt, seed=seed)])[0].text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_an_answer_does_not_depend_on_its_batch(llama):
    questions = [_question(answers.PlainPrompt, f"Number {place}.", seed=place) for place in range(4)]
    together = _answers(TransformersModel(str(llama), Settings(batch=4)), questions)
    alone = _answers(TransformersModel(str(llama), Settings(batch=1)), questions)
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.text for answer in alone}) == 4
    assert [answer.tokens_out for answer in together] == [answer.tokens_out for answer in alone]


def test_a_models_own_generation_settings_are_ignored(llama, tmp_path):
    import shutil

    fussy = shutil.copytree(llama, tmp_path / "fussy")
    path = fussy / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_sample": True, "top_k": 1, "repetition_penalty": 9.0}))
    question = _question(answers.PlainPrompt, seed=3)
    plain, ruled = (_answers(TransformersModel(str(place), Settings()), [question])[0] for place in (llama, fussy))
    assert plain.text == ruled.text


def test_draws_follow_the_softmax_at_their_temperature():
    import torch

    from dmun_audit.knowledge.language_models.constrained import ConstrainedSampling

    logits, temperature, draws = torch.tensor([0.0, 1.0, 2.0, -1.0]), 0.7, 20_000
    constraint = ConstrainedSampling(type("L", (), {"torch": None}), [None], [(temperature, 5)], 0)
    counts = torch.bincount(torch.stack([constraint._perturbed(0, logits).argmax() for _ in range(draws)]), minlength=4)
    expected = torch.softmax(logits / temperature, 0)
    assert torch.all((counts / draws - expected).abs() < 4 * (expected * (1 - expected) / draws).sqrt() + 1e-3)
    cold = ConstrainedSampling(type("L", (), {"torch": None}), [None], [(0.0, 5)], 0)
    assert torch.equal(cold._perturbed(0, logits), logits)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("owner/name@v1", ("owner/name", "v1")),
        ("owner/name", ("owner/name", "")),
        ("~/model", (os.path.expanduser("~/model"), "")),
        ("./a@b", ("a@b", "")),
    ],
)
def test_a_place_is_a_folder_or_a_hub_id_with_its_revision(text, place, tmp_path, monkeypatch):
    from dmun_audit.knowledge.language_models.local import _name_and_revision

    assert _name_and_revision(text) == place
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model@v1").mkdir()
    assert _name_and_revision("model@v1") == ("model@v1", "")


def test_an_answer_that_runs_out_of_tokens_says_so(llama):
    assert _answers(TransformersModel(str(llama), Settings()), [_question(answers.Neighbour, tokens=5)])[0].end == "length"


@pytest.mark.slow
def test_release_frees_the_memory(llama):
    import gc
    import weakref

    model = TransformersModel(str(llama), Settings())
    list(model.ask([_question(answers.NumberedRating)]))
    weights = weakref.ref(model._loaded.model)
    model.release()
    gc.collect()
    assert weights() is None
    assert _answers(model, [_question(answers.NumberedRating)])[0].end == "stop"


@pytest.mark.slow
def test_the_whole_interview_ends_in_a_dossier_or_one_bounded_error(llama, brief, tmp_path):
    access = LanguageModelAccess(
        parse_language_model(f"transformers:{llama}"), tmp_path / "t.transcript.jsonl", Settings(batch=16)
    )
    with pytest.raises(
        UsageError, match=r"gave no valid answer|hold no concept to retain"
    ) as caught:  # random weights make no sense
        build_dossier(brief, access)
    assert "larger model" in str(caught.value)
    lines = [json.loads(line) for line in access.transcript.read_text().splitlines()]
    whole = [line["text"] for line in lines if line.get("end") == "stop"]
    assert 1 < len(whole) < len(lines) <= 1 + 4 * 26
    assert all(isinstance(json.loads(text)["items"], list) for text in whole)


def test_a_preflight_measures_the_speed_without_the_loading_of_the_weights(llama, tmp_path, monkeypatch):
    access = LanguageModelAccess(parse_language_model(f"transformers:{llama}"), tmp_path / "t.transcript.jsonl")
    loaded = TransformersModel.load

    def slowly(self):
        time.sleep(1.5)
        loaded(self)

    monkeypatch.setattr(TransformersModel, "load", slowly)
    monkeypatch.setattr(preflight, "SLOW_START", 60.0)
    started = time.monotonic()
    with access.open_transcript() as transcript:
        result = preflight.preflight(transcript, 4, 0.7)
        assert transcript.facts()["questions"] == 0
    assert result.form == "schema"
    assert result.parallel == 1
    assert result.tokens > preflight.COUNT
    assert 0 < result.seconds < time.monotonic() - started - 1.5


def test_every_answer_of_a_local_model_keeps_to_the_users_limit(llama):
    model = TransformersModel(str(llama), Settings(max_tokens=20))
    answer = _answers(model, [_question(answers.PlainPrompt)])[0]
    assert answer.end == "length"
    assert answer.tokens_out <= 20


def test_a_vision_language_model_sees_images(seeing):
    model = TransformersModel(str(seeing), Settings())
    red, blue = _picture("red"), _picture("blue")
    answer = _answers(model, [_question(answers.SimilarityRating, "How similar?", (red, red, blue, blue))])[0]
    assert answer.end == "stop"
    assert 0 <= read_answer(answer.text, answers.SimilarityRating).items[0].rating <= 100
    assert _answers(model, [_question(answers.SimilarityRating, "No picture.")])[0].end == "stop"


def test_a_model_that_cannot_see_is_not_shown_images(llama):
    with pytest.raises(UsageError, match="does not see images"):
        list(TransformersModel(str(llama), Settings()).ask([_question(answers.SimilarityRating, "Look.", (_picture("red"),))]))


def test_a_folder_that_is_no_chat_model_is_one_clear_error(tmp_path, llama):
    with pytest.raises(LoadError, match="cannot be opened"):
        list(TransformersModel(str(tmp_path), Settings()).ask([_question(answers.NumberedRating)]))
    import shutil

    silent = shutil.copytree(llama, tmp_path / "silent")
    (silent / "chat_template.jinja").unlink()
    with pytest.raises(LoadError, match="no chat template"):
        list(TransformersModel(str(silent), Settings()).ask([_question(answers.NumberedRating)]))


def test_a_template_without_a_system_turn_gets_the_instructions_in_the_first_turn(llama, tmp_path):
    import shutil

    plain = shutil.copytree(llama, tmp_path / "plain")
    template = (plain / "chat_template.jinja").read_text()
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    (plain / "chat_template.jinja").write_text(refusal + template)
    model, question = TransformersModel(str(plain), Settings()), _question(answers.NumberedRating)
    assert read_answer(_answers(model, [question])[0].text, answers.NumberedRating).items
    assert model._loaded._conversation(question.messages) == [{"role": "user", "content": "Answer.\n\nGo on."}]
    (plain / "chat_template.jinja").write_text("{{ raise_exception('never') }}")
    with pytest.raises(LoadError, match="fails"):
        list(TransformersModel(str(plain), Settings()).ask([_question(answers.NumberedRating)]))


def test_running_out_of_memory_says_what_to_lower(llama, monkeypatch):
    import torch

    model = TransformersModel(str(llama), Settings())
    list(model.ask([_question(answers.NumberedRating)]))

    def full(**arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(model._loaded.model, "generate", full)  # no GPU to fill here
    with pytest.raises(UsageError, match="set --batch lower") as caught:
        list(model.ask([_question(answers.NumberedRating)] * 3))
    assert "3 questions at once" in str(caught.value)


def test_a_question_longer_than_the_model_reads_is_one_clear_error(llama):
    with pytest.raises(UsageError, match="reads 16384 tokens"):
        list(TransformersModel(str(llama), Settings()).ask([_question(answers.NumberedRating, "word " * 20_000)]))


def test_quantisation_without_its_package_says_what_to_install(llama):
    import importlib.util

    if importlib.util.find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed here")
    with pytest.raises(UsageError, match="pip install bitsandbytes"):
        list(TransformersModel(str(llama), Settings(quantize="4bit")).ask([_question(answers.NumberedRating)]))
