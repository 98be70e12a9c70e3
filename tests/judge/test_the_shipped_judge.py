"""The judge that ships: opened by open_clip, on painted images, with any batch."""

import numpy as np
import pytest

from dmun_audit._util.errors import LoadError
from dmun_audit.atelier.painters import STYLES, SUBJECTS, paint
from dmun_audit.atelier.words import STYLE_WORDS, SUBJECT_WORDS
from dmun_audit.judge.clip import BATCH_SIZE, ClipJudge
from dmun_audit.judge.detection import label_shares
from dmun_audit.models import references


@pytest.fixture(scope="module")
def judge():
    return ClipJudge(f"local-dir:{references.atelier_judge()}")


@pytest.fixture(scope="module")
def images():
    return [paint(style, subject, 3_000_000) for style in STYLES for subject in SUBJECTS]


def test_it_classifies_styles_and_subjects_of_images_outside_its_training(judge, images):
    embeddings = judge.embed_images(images)
    styles = judge.embed_texts(
        ["a photo" if style == "photograph" else f"a painting by {STYLE_WORDS[style].full}" for style in STYLES]
    )
    subjects = judge.embed_texts([f"a painting of {SUBJECT_WORDS[subject].nouns[0]}" for subject in SUBJECTS])
    wanted = np.repeat(np.arange(len(STYLES)), len(SUBJECTS))
    assert (label_shares(embeddings, styles, judge.scale).argmax(axis=1) == wanted).mean() >= 0.95
    wanted = np.tile(np.arange(len(SUBJECTS)), len(STYLES))
    assert (label_shares(embeddings, subjects, judge.scale).argmax(axis=1) == wanted).mean() >= 0.9


def test_an_embedding_does_not_depend_on_other_images_or_texts(judge, images):
    together = judge.embed_images(images[: BATCH_SIZE + 3])
    alone = np.concatenate([judge.embed_images([image]) for image in images[: BATCH_SIZE + 3]])
    assert np.array_equal(together, alone)
    texts = [f"a painting of {SUBJECT_WORDS[subject].nouns[0]}" for subject in SUBJECTS]
    fresh = ClipJudge(f"local-dir:{references.atelier_judge()}")
    assert np.array_equal(judge.embed_texts(texts), np.concatenate([fresh.embed_texts([text]) for text in texts]))


@pytest.mark.parametrize("reference", ["local-dir:/nowhere", "nonsense", "open_clip:NoSuchNet/tag"])
def test_a_judge_that_cannot_be_opened_is_named(reference):
    with pytest.raises(LoadError, match=r"nowhere|nonsense|NoSuchNet"):
        ClipJudge(reference)
