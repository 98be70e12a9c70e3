"""Judges of stored images: no image is scored twice, and a detector replaces CLIP's detection and nothing else."""

import numpy as np
import pytest
import small_networks
from chat_server import serving
from test_vlm import sees_red

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.cached_detector import CachedDetector
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.detection import LOWEST_THRESHOLD, calibrate, label_shares
from dmun_audit.judge.loading import JudgeLoader
from dmun_audit.judge.protocol import ScoreScale
from dmun_audit.judge.views import CLEAR
from dmun_audit.models.references import atelier_judge
from dmun_audit.store.embeddings import EmbeddingStore

KEYS = [digest(["image", index]) for index in range(19)]


@pytest.fixture
def read(images):
    """A reader of images by key. `reader.read` lists the keys that were read."""
    stored = dict(zip(KEYS, images, strict=True))

    def reader(keys):
        reader.read += keys
        return [stored[key] for key in keys]

    reader.read = []
    return reader


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return f"classifier:{small_networks.save_classifier(tmp_path_factory.mktemp('judge') / 'classifier')}#porn"


def test_a_detector_replaces_detection_and_nothing_else(classifier, dossier, read, tmp_path):
    loader = JudgeLoader("cpu")
    plain = loader.clip_scorer("atelier:judge", dossier, tmp_path, read)
    scorer = loader.clip_scorer("atelier:judge", dossier, tmp_path, read, classifier)
    alone = loader.stored_image_detector(classifier, dossier, tmp_path, read)
    assert np.array_equal(scorer.target_scores(KEYS), alone.target_scores(KEYS))
    assert not np.allclose(scorer.target_scores(KEYS), plain.target_scores(KEYS))
    assert scorer.threshold(KEYS) == calibrate(alone.target_scores(KEYS), ScoreScale(0.2).lowest)
    assert (scorer.reference, scorer.digest) == (classifier, alone.digest)
    assert plain.reference == "atelier:judge"
    assert plain.digest not in {scorer.digest, plain.judge.digest}
    assert np.array_equal(scorer.embeddings(KEYS), plain.embeddings(KEYS))
    concept = dossier.concepts[0]
    assert scorer.classify(KEYS, concept) == plain.classify(KEYS, concept)


def test_without_a_detector_clip_detects_as_it_always_did(dossier, read, images, tmp_path):
    """Detectors were added later; CLIP's own scores are still those of its definition."""
    judge = ClipJudge(f"local-dir:{atelier_judge()}")
    target = dossier.target
    rivals = [c.label for c in dossier.concepts if c.kind == target.kind and c.role != "erase" and not c.may_contain_target]
    labels = list(dict.fromkeys([target.label, *rivals, *dossier.anchors]))
    expected = label_shares(judge.embed_images(images), judge.embed_texts(labels), judge.scale)[:, 0]
    scorer = JudgeLoader("cpu").clip_scorer("atelier:judge", dossier, tmp_path, read)
    assert scorer.judge.digest == judge.digest
    assert np.array_equal(scorer.target_scores(KEYS), expected)
    assert scorer.threshold(KEYS) == calibrate(expected)
    assert scorer.threshold(KEYS).value >= LOWEST_THRESHOLD


def test_no_image_is_scored_twice(classifier, dossier, read, tmp_path):
    first = JudgeLoader("cpu").stored_image_detector(classifier, dossier, tmp_path, read).target_scores([*KEYS, KEYS[0]])
    assert sorted(read.read) == sorted(KEYS)
    again = JudgeLoader("cpu").stored_image_detector(classifier, dossier, tmp_path, read).target_scores([*KEYS, KEYS[0]])
    assert sorted(read.read) == sorted(KEYS)
    assert np.array_equal(first, again)
    other = classifier.replace("#porn", "#hentai")
    assert not np.array_equal(
        first, JudgeLoader("cpu").stored_image_detector(other, dossier, tmp_path, read).target_scores([*KEYS, KEYS[0]])
    )


def test_a_server_gets_each_image_once_and_has_a_fixed_threshold(dossier, read, tmp_path):
    with serving(sees_red) as chat:
        for _ in range(2):
            server = JudgeLoader("cpu").stored_image_detector(f"vlm:{chat.url}#scorer", dossier, tmp_path, read)
            assert set(server.target_scores(KEYS).tolist()) == {0.0, 1.0}
            assert (server.threshold(KEYS).value, server.threshold(KEYS).images) == (0.5, 0)
        assert chat.answered == len(KEYS)


def test_expected_images_fill_the_batch_that_the_judge_computes_anyway(dossier, read, images, tmp_path):
    scorer = JudgeLoader("cpu").clip_scorer("atelier:judge", dossier, tmp_path, read)
    scorer.expect(KEYS[:5])
    assert np.array_equal(scorer.embeddings(KEYS[3:4]), scorer.judge.embed_images(images[3:4]))
    assert read.read == [KEYS[3], *KEYS[:3], KEYS[4]]
    assert np.array_equal(scorer.embeddings(KEYS[:5]), scorer.judge.embed_images(images[:5]))
    assert len(read.read) == 5
    through = scorer.through(CLEAR)
    scorer.expect(KEYS[5:8])
    through.embeddings(KEYS[5:6])
    assert read.read[5:] == KEYS[5:8]


class _Damaged:
    """A detector with damaged weights: it gives one score for all images."""

    reference, digest, scale = "classifier:damaged#x", "d" * 64, ScoreScale(0.2)

    def __init__(self, score):
        self.score = score

    def target_scores(self, images):
        return np.full(len(images), self.score)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), -0.1, 1.1, "high", None])
def test_a_number_that_is_no_score_is_an_error_and_is_not_stored(score, read, tmp_path):
    store = EmbeddingStore(tmp_path, _Damaged.digest)
    with pytest.raises(LoadError, match="no scores between 0 and 1"):
        CachedDetector(_Damaged(score), store, read).target_scores(KEYS[:1])
    assert not store.read(KEYS[:1])


class _Elsewhere:
    """An embedder on machines of another kind. `asked` are the keys and views of each call."""

    judging_environment = {"device": "cuda elsewhere"}  # noqa: RUF012
    images_at_once = 64

    def __init__(self, read):
        self._read = read
        self.asked = []

    def embed(self, judge, keys, views):
        self.asked.append((keys, views))
        return judge.embed_images(self._read(keys))


def test_embeddings_of_other_processes_belong_to_their_environment_and_fill_a_batch_of_each(dossier, images, tmp_path):
    elsewhere, stored = _Elsewhere(lambda keys: [stored[key] for key in keys]), {f"{n}": images[n % 19] for n in range(70)}
    loader = JudgeLoader("cpu", elsewhere)
    scorer = loader.clip_scorer("atelier:judge", dossier, tmp_path, lambda keys: pytest.fail("this process reads no image"))
    scorer.expect(list(stored))
    first = scorer.embeddings(["5"])
    assert [(len(keys), views) for keys, views in elsewhere.asked] == [(64, ())]
    assert np.array_equal(first, scorer.judge.embed_images([images[5]]))
    kept = EmbeddingStore(tmp_path, scorer.judge.digest, _Elsewhere.judging_environment)
    assert len(kept.read(list(stored))) == 64
    assert [path.name for path in (tmp_path / "embeddings").glob("*.sqlite")] == [kept.path.name]
    scorer.through(CLEAR).embeddings(["5"])
    assert elsewhere.asked[1][1] == (CLEAR,)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_embeddings_that_are_not_finite_are_an_error_wherever_they_come_from(value, dossier, read, images, tmp_path):
    loader = JudgeLoader("cpu")
    scorer = loader.clip_scorer("atelier:judge", dossier, tmp_path, read)
    good = scorer.embeddings(KEYS)
    scorer._store.write({KEYS[0]: np.full_like(good[0], value)})  # as a damaged judge of another version may have left it
    fresh = JudgeLoader("cpu").clip_scorer("atelier:judge", dossier, tmp_path, read)
    assert np.array_equal(fresh.embeddings(KEYS), good)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scorer.judge, "embed_images", lambda images: np.full((len(images), good.shape[1]), value, np.float32))
        with pytest.raises(LoadError, match="embeddings that are not finite"):
            loader.clip_scorer("atelier:judge", dossier, tmp_path / "new", read).target_scores(KEYS[:2])
    with pytest.MonkeyPatch.context() as patched, np.errstate(all="ignore"):
        patched.setattr(scorer.judge, "embed_texts", lambda texts: np.full((len(texts), good.shape[1]), value, np.float32))
        for ask in (
            lambda: scorer.target_scores(KEYS[1:3]),
            lambda: scorer.classify(KEYS[1:3], dossier.concepts[0]),
            lambda: scorer.clip_scores(KEYS[1:3], ["a", "b"]),
        ):
            with pytest.raises(LoadError, match="not finite"):
                ask()


class _NotFinite:
    """An embedder with damaged weights."""

    digest = "e" * 64

    def embed_images(self, images):
        return np.full((len(images), 4), np.nan)


def test_reference_images_whose_embeddings_are_not_finite_are_an_error(images, tmp_path):
    from PIL import Image

    from dmun_audit.judge.reference import JudgeReference
    from dmun_audit.judge.reference_images import ReferenceImageNetwork

    Image.fromarray(images[0]).save(tmp_path / "one.png")
    reference = JudgeReference(f"references:x#{tmp_path}", "references", "x", str(tmp_path))
    with pytest.raises(LoadError, match="not finite"):
        ReferenceImageNetwork(_NotFinite()).detector(reference, None)


def test_the_second_judge_must_not_be_the_first(classifier, dossier, read, tmp_path):
    loader = JudgeLoader("cpu")
    scorer = loader.clip_scorer("atelier:judge", dossier, tmp_path, read)
    with pytest.raises(LoadError, match="would agree with itself"):
        loader.second_judge(f"local-dir:{atelier_judge()}", scorer, tmp_path, read)
    second = loader.second_judge(classifier, scorer, tmp_path, read)
    assert second.reference == classifier
    assert second.target_scores(KEYS).shape == (len(KEYS),)


def test_the_log_says_what_was_opened_and_scored_and_which_image_set_the_threshold(classifier, dossier, read, tmp_path, caplog):
    caplog.set_level("DEBUG", logger="dmun_audit")
    scorer = JudgeLoader("cpu").clip_scorer("atelier:judge", dossier, tmp_path, read, classifier)
    value = scorer.threshold(KEYS, cap=0.999).value
    image = KEYS[int(scorer.target_scores(KEYS).argmax())]
    scorer.embeddings(KEYS[:3])
    text = caplog.text
    for part in (
        "opened CLIP 'atelier:judge' on cpu in",
        f"digest {scorer.judge.digest[:16]}",
        "opened classifier",
        f"has the digest {scorer.digest[:16]}",
        f"scored 16 images with {classifier!r} in",
        f"scored 3 images with {classifier!r} in",
        f"threshold of {classifier!r}: {value:.4f}, the score of image {image}",
        "embedded 3 images with 'atelier:judge' in",
    ):
        assert part in text, part


def test_the_log_says_that_a_threshold_is_the_lowest_of_its_scale(dossier, read, tmp_path, caplog):
    caplog.set_level("DEBUG", logger="dmun_audit")
    scorer = JudgeLoader("cpu").clip_scorer("atelier:judge", dossier, tmp_path, read)
    scorer.target_scores = lambda keys: np.linspace(0, 0.1, len(keys))
    assert scorer.threshold(KEYS).value == LOWEST_THRESHOLD
    assert f"0.2000, the lowest of its scale; the highest of 19 scores is 0.1000, of image {KEYS[-1]}" in caplog.text
