"""Vision-language models as detectors: over real HTTP, and a small one of transformers."""

import base64
import io

import numpy as np
import pytest
from chat_server import reply, serving
from PIL import Image
from tiny_models import save_llama, save_llama_vision

from dmun_audit._util.errors import UsageError
from dmun_audit.judge.vlm import yes_or_no
from dmun_audit.knowledge.language_models.protocol import Answer

RED, GREEN = (np.zeros((8, 8, 3), np.uint8) + colour for colour in (np.uint8([255, 0, 0]), np.uint8([0, 255, 0])))


def _image(body):
    part = next(
        part for turn in body["messages"] if isinstance(turn["content"], list) for part in turn["content"] if "image_url" in part
    )
    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def sees_red(body):
    """The answer of a model that says yes to red images."""
    return '{"answer": "yes"}' if _image(body)[0, 0, 0] > 128 else '{"answer": "no"}'


def test_the_question_names_the_label_and_shows_each_image(detector, dossier):
    with serving(sees_red) as chat:
        scores = detector(f"vlm:{chat.url}#scorer").target_scores([RED, GREEN, RED])
        questions = [str(request["messages"]) for request in chat.requests]
    assert scores.tolist() == [1.0, 0.0, 1.0]
    assert len(questions) == 3
    assert all(dossier.target.label in text for text in questions)


def test_an_unusable_answer_is_followed_by_the_question_again(detector):
    def shy(body):
        return sees_red(body) if len(body["messages"]) > 1 else "Perhaps."

    with serving(shy) as chat:
        assert detector(f"vlm:{chat.url}#scorer").target_scores([GREEN, RED]).tolist() == [0.0, 1.0]
        assert chat.answered == 4


@pytest.mark.parametrize("text", ["Perhaps.", '{"answer": "maybe"}', "", "no", '{"answer": ["no"]}', '{"answer": "no", "or": 1}'])
def test_an_answer_that_stays_unusable_is_an_error_and_does_not_count_as_no(text, detector):
    with serving(lambda body: text) as chat, pytest.raises(UsageError, match="no usable answer about 1 images"):
        detector(f"vlm:{chat.url}#scorer").target_scores([RED])


def test_a_refusal_is_an_error_and_does_not_count_as_no(detector):
    def refuse(handler, body):
        reply(handler, '{"answer": "no"}', message={"refusal": "I cannot look at that."})

    with serving(sees_red) as chat:
        chat.fail_next(refuse, refuse, refuse)
        with pytest.raises(UsageError, match="I cannot look at that"):
            detector(f"vlm:{chat.url}#scorer").target_scores([RED])


def test_answers_are_read_strictly():
    assert yes_or_no(Answer('```json\n{"answer": "yes"}\n```')) is True
    assert yes_or_no(Answer(' {"answer": "no"} ')) is False
    assert yes_or_no(Answer('{"answer": "no"}', end="length")) is None
    assert yes_or_no(Answer("[" * 100_000)) is None


def test_its_scale_is_not_calibrated(detector):
    """Calibrated on zeros and ones, one false yes would put the threshold at 1, and nothing would be detected."""
    with serving(sees_red) as chat:
        scale = detector(f"vlm:{chat.url}#scorer").scale
    assert not scale.calibrated
    assert 0 < scale.lowest < 1


def test_a_small_model_of_transformers_answers_within_the_schema(detector, tmp_path, images):
    model = detector(f"vlm:transformers:{save_llama_vision(tmp_path / 'vision')}")
    scores = model.target_scores(images[:2])
    assert set(scores.tolist()) <= {0.0, 1.0}
    assert model.digest == detector(f"vlm:transformers:{tmp_path / 'vision'}").digest
    with (tmp_path / "vision" / "config.json").open("a") as config:
        config.write("\n")
    assert model.digest != detector(f"vlm:transformers:{tmp_path / 'vision'}").digest


def test_a_model_that_reads_no_images_is_one_error(detector, tmp_path, images):
    blind = detector(f"vlm:transformers:{save_llama(tmp_path / 'llama')}")
    with pytest.raises(UsageError, match="does not see images"):
        blind.target_scores(images[:1])
