"""The shipped judge at work: through open_clip alone, on painted pictures, whatever shares a batch."""

import numpy as np
import pytest

from dmun_audit._util.errors import LoadError
from dmun_audit.atelier.painters import STYLES, SUBJECTS, paint
from dmun_audit.atelier.words import STYLE_WORDS, SUBJECT_WORDS
from dmun_audit.judge.clip import SLOTS, ClipJudge
from dmun_audit.judge.detection import label_shares
from dmun_audit.models import references


@pytest.fixture(scope="module")
def judge():
    return ClipJudge(f"local-dir:{references.atelier_judge()}")


@pytest.fixture(scope="module")
def pictures():
    return [paint(style, subject, 3_000_000) for style in STYLES for subject in SUBJECTS]


def test_it_tells_styles_and_subjects_of_pictures_it_never_saw(judge, pictures):
    seen = judge.embed_images(pictures)
    styles = judge.embed_texts(
        ["a photo" if style == "photograph" else f"a painting by {STYLE_WORDS[style].full}" for style in STYLES]
    )
    subjects = judge.embed_texts([f"a painting of {SUBJECT_WORDS[subject].nouns[0]}" for subject in SUBJECTS])
    wanted = np.repeat(np.arange(len(STYLES)), len(SUBJECTS))
    assert (label_shares(seen, styles, judge.scale).argmax(axis=1) == wanted).mean() >= 0.95
    wanted = np.tile(np.arange(len(SUBJECTS)), len(STYLES))
    assert (label_shares(seen, subjects, judge.scale).argmax(axis=1) == wanted).mean() >= 0.9


def test_an_embedding_does_not_depend_on_its_company(judge, pictures):
    together = judge.embed_images(pictures[: SLOTS + 3])
    alone = np.concatenate([judge.embed_images([picture]) for picture in pictures[: SLOTS + 3]])
    assert np.array_equal(together, alone)
    texts = [f"a painting of {SUBJECT_WORDS[subject].nouns[0]}" for subject in SUBJECTS]
    fresh = ClipJudge(f"local-dir:{references.atelier_judge()}")
    assert np.array_equal(judge.embed_texts(texts), np.concatenate([fresh.embed_texts([text]) for text in texts]))


@pytest.mark.parametrize("reference", ["local-dir:/nowhere", "nonsense", "open_clip:NoSuchNet/tag"])
def test_a_judge_that_cannot_be_opened_is_named(reference):
    with pytest.raises(LoadError, match=r"nowhere|nonsense|NoSuchNet"):
        ClipJudge(reference)
