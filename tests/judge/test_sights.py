"""Judges at work on stored images: each is looked at once, a detector replaces CLIP's detection and nothing else."""

import numpy as np
import pytest
import small_networks
from chat_server import serving
from test_asked import sees_red

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.cached_detector import CachedDetector
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.detection import LOWEST_THRESHOLD, calibrate, label_shares
from dmun_audit.judge.opening import Judges
from dmun_audit.judge.protocol import Scale
from dmun_audit.models.references import atelier_judge
from dmun_audit.store.embeddings import EmbeddingStore

KEYS = [digest(["image", place]) for place in range(19)]


@pytest.fixture
def read(pictures):
    """Reads images by key and notes how often each was read."""
    stored = dict(zip(KEYS, pictures, strict=True))

    def reader(keys):
        reader.read += keys
        return [stored[key] for key in keys]

    reader.read = []
    return reader


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return f"classifier:{small_networks.save_classifier(tmp_path_factory.mktemp('judge') / 'classifier')}#porn"


def test_a_detector_replaces_detection_and_nothing_else(classifier, dossier, read, tmp_path):
    judges = Judges("cpu")
    plain = judges.scorer("atelier:judge", dossier, tmp_path, read)
    scorer = judges.scorer("atelier:judge", dossier, tmp_path, read, classifier)
    alone = judges.sight(classifier, dossier, tmp_path, read)
    assert np.array_equal(scorer.target_scores(KEYS), alone.target_scores(KEYS))
    assert not np.allclose(scorer.target_scores(KEYS), plain.target_scores(KEYS))
    assert scorer.threshold(KEYS) == calibrate(alone.target_scores(KEYS), Scale(0.2).lowest)
    assert (scorer.reference, scorer.digest) == (classifier, alone.digest)
    assert plain.reference == "atelier:judge"
    assert plain.digest not in {scorer.digest, plain.judge.digest}
    assert np.array_equal(scorer.embeddings(KEYS), plain.embeddings(KEYS))
    concept = dossier.concepts[0]
    assert scorer.classify(KEYS, concept) == plain.classify(KEYS, concept)


def test_without_a_detector_clip_detects_as_it_always_did(dossier, read, pictures, tmp_path):
    """Every number of an audit from before there were detectors stays what it was."""
    judge = ClipJudge(f"local-dir:{atelier_judge()}")
    target = dossier.target
    rivals = [c.label for c in dossier.concepts if c.kind == target.kind and c.role != "erase" and not c.may_contain_target]
    labels = list(dict.fromkeys([target.label, *rivals, *dossier.anchors]))
    expected = label_shares(judge.embed_images(pictures), judge.embed_texts(labels), judge.scale)[:, 0]
    scorer = Judges("cpu").scorer("atelier:judge", dossier, tmp_path, read)
    assert scorer.judge.digest == judge.digest
    assert np.array_equal(scorer.target_scores(KEYS), expected)
    assert scorer.threshold(KEYS) == calibrate(expected)
    assert scorer.threshold(KEYS).value >= LOWEST_THRESHOLD


def test_an_image_is_scored_once_ever(classifier, dossier, read, tmp_path):
    first = Judges("cpu").sight(classifier, dossier, tmp_path, read).target_scores([*KEYS, KEYS[0]])
    assert sorted(read.read) == sorted(KEYS)
    again = Judges("cpu").sight(classifier, dossier, tmp_path, read).target_scores([*KEYS, KEYS[0]])
    assert sorted(read.read) == sorted(KEYS)
    assert np.array_equal(first, again)
    other = classifier.replace("#porn", "#hentai")
    assert not np.array_equal(first, Judges("cpu").sight(other, dossier, tmp_path, read).target_scores([*KEYS, KEYS[0]]))


def test_a_server_is_asked_once_about_an_image_and_gives_its_threshold(dossier, read, tmp_path):
    with serving(sees_red) as chat:
        for _ in range(2):
            sight = Judges("cpu").sight(f"vlm:{chat.url}#scorer", dossier, tmp_path, read)
            assert set(sight.target_scores(KEYS).tolist()) == {0.0, 1.0}
            assert (sight.threshold(KEYS).value, sight.threshold(KEYS).images) == (0.5, 0)
        assert chat.answered == len(KEYS)


class _Damaged:
    """A detector of which the weights hold a nan: the one thing that no small network does by itself."""

    reference, digest, scale = "classifier:damaged#x", "d" * 64, Scale(0.2)

    def __init__(self, score):
        self.score = score

    def target_scores(self, images):
        return np.full(len(images), self.score)


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.1])
def test_a_detector_that_gives_no_score_is_an_error_and_nothing_is_kept(score, read, tmp_path):
    store = EmbeddingStore(tmp_path, _Damaged.digest)
    with pytest.raises(LoadError, match="no scores between 0 and 1"):
        CachedDetector(_Damaged(score), store, read).target_scores(KEYS[:1])
    assert store.read(KEYS[0]) is None


def test_the_second_judge_must_not_be_the_first(classifier, dossier, read, tmp_path):
    judges = Judges("cpu")
    scorer = judges.scorer("atelier:judge", dossier, tmp_path, read)
    with pytest.raises(LoadError, match="would agree with itself"):
        judges.second(f"local-dir:{atelier_judge()}", scorer, tmp_path, read)
    second = judges.second(classifier, scorer, tmp_path, read)
    assert second.reference == classifier
    assert second.target_scores(KEYS).shape == (len(KEYS),)
