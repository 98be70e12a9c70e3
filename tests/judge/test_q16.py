"""Q16 with prompts made here: the probability of the second prompt, and what cannot be opened."""

import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.kinds import parse_judge
from dmun_audit.judge.loading import JudgeLoader
from dmun_audit.models.references import atelier_judge

CLIP = f"local-dir:{atelier_judge()}"
TEXTS = ["a house", "sunflowers"]


@pytest.fixture(scope="module")
def clip():
    return JudgeLoader("cpu").clip_model(CLIP)


@pytest.fixture
def prompts(clip, tmp_path):
    """Embeddings of two texts in place of learned ones. Their lengths are not 1, as those of learned ones are not."""
    np.save(tmp_path / "prompts.npy", clip.embed_texts(TEXTS) * np.float32(3))
    return tmp_path / "prompts.npy"


def test_the_score_is_the_probability_of_the_second_prompt(clip, prompts, detector, images):
    scores = detector(f"q16:{CLIP}#{prompts}").target_scores(images)
    cosines = 100 * clip.embed_images(images).astype(np.float64) @ clip.embed_texts(TEXTS).astype(np.float64).T
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(cosines[:, 0] - cosines[:, 1])), atol=1e-5)
    assert np.ptp(scores) > 0.01


def test_a_score_depends_on_its_image_alone(prompts, detector, images):
    opened = detector(f"q16:{CLIP}#{prompts}")
    assert opened.target_scores(images)[3] == opened.target_scores([images[3]])[0]


def test_safetensors_hold_the_same_prompts_and_other_prompts_have_another_digest(prompts, detector, tmp_path):
    save_file({"prompts": np.load(prompts)}, tmp_path / "prompts.safetensors")
    np.save(tmp_path / "swapped.npy", np.load(prompts)[::-1])
    first, same, other = (
        detector(f"q16:{CLIP}#{tmp_path / name}").digest for name in ("prompts.npy", "prompts.safetensors", "swapped.npy")
    )
    assert first == same != other


def test_a_threshold_in_the_reference_is_fixed(prompts, detector, tmp_path):
    fixed = detector(f"q16:{CLIP}#{prompts}@0.6").scale
    assert (fixed.lowest, fixed.calibrated) == (0.6, False)
    assert detector(f"q16:{CLIP}#{prompts}").scale.calibrated
    at = tmp_path / "prompts@2022.npy"
    at.write_bytes(prompts.read_bytes())
    assert detector(f"q16:{CLIP}#{at}").scale.calibrated


@pytest.mark.parametrize(
    ("query", "words"),
    [("", "names no prompts"), ("#{folder}/prompts.p", "ends in neither"), ("#{folder}/none.npy", "there is no file")],
)
def test_what_is_not_there_is_refused_before_anything_is_loaded(query, words, tmp_path):
    (tmp_path / "prompts.p").write_bytes(pickle.dumps(np.zeros((2, 4))))
    with pytest.raises(LoadError, match=words):
        parse_judge(f"q16:{CLIP}{query.format(folder=tmp_path)}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros((2, 7)), r"of the shape \(2, 7\)"),
        (np.array([{}, {}], dtype=object), "cannot be read"),
        ("zeros", "zero or not finite"),
    ],
)
def test_another_file_is_one_error(content, words, clip, tmp_path, detector):
    content = np.zeros((2, clip.embed_texts(["a"]).shape[1])) if isinstance(content, str) else content
    np.save(tmp_path / "other.npy", content, allow_pickle=True)
    with pytest.raises(LoadError, match=words):
        detector(f"q16:{CLIP}#{tmp_path / 'other.npy'}")
