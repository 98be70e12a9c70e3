"""Views: what weakens a picture does not change its clear view much; and a judge with views, each with its own threshold."""

import numpy as np
import pytest
from textured_pictures import picture

from dmun_audit._util.hashing import digest
from dmun_audit.judge.cached_detector import CachedDetector
from dmun_audit.judge.loading import JudgeLoader
from dmun_audit.judge.protocol import ScoreScale
from dmun_audit.judge.viewed import ViewedJudge
from dmun_audit.judge.views import CLEAR, GRAINY, VIEWS, View, clear_view, grain
from dmun_audit.measures.weakening import WEAKENINGS, kind_of, noised, veiled
from dmun_audit.store.embeddings import EmbeddingStore

KEYS = [digest(["view", index]) for index in range(30)]


def difference(one, other):
    return float(np.abs(one.astype(float) - other).mean())


def dimmed(image):
    """The image at three tenths of its brightness."""
    return np.rint(image * 0.3).astype(np.uint8)


@pytest.mark.parametrize("weaken", [dimmed, lambda image: veiled(veiled(image))])
def test_the_clear_view_undoes_darkness_and_veils(weaken):
    image = picture(1)
    weak, clear = weaken(image).mean(axis=2), clear_view(weaken(image)).mean(axis=2)
    assert np.ptp(np.percentile(weak, [1, 99])) < 100
    assert np.percentile(clear, [1, 99]) == pytest.approx([20, 235], abs=2)
    assert np.corrcoef(clear.ravel(), image.mean(axis=2).ravel())[0, 1] > 0.99


def test_the_clear_view_smooths_grain_and_leaves_other_pictures_alone():
    image = picture(1)
    assert grain(image) < GRAINY < grain(noised(image))
    assert grain(clear_view(noised(image))) < GRAINY
    assert np.array_equal(clear_view(image), image)
    plain = np.full((16, 16, 3), 70, np.uint8)
    assert np.array_equal(clear_view(plain), plain)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(clear_view(noise), noise)


def test_the_grain_is_the_standard_deviation_of_noise():
    noise = np.random.default_rng(0).normal(0, 12, (200, 200, 1))
    assert grain(np.clip(128 + noise, 0, 255).repeat(3, axis=2)) == pytest.approx(12, rel=0.03)
    assert grain(np.full((2, 2, 3), 9, np.uint8)) == 0.0


def test_weakenings_are_deterministic_and_keep_the_size():
    image = picture(3, size=96)
    kinds = [kind_of(view) for view in WEAKENINGS]
    assert kinds == ["darkened", "veiled", "blurred", "noised", "shrunk", "recoloured", "rotated"]
    for view in WEAKENINGS:
        changed = view.change(image)
        assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
        assert np.array_equal(changed, view.change(image.copy()))
        assert not np.array_equal(changed, image)


class Contrast:
    """Detects bright pixels: a veiled image has none. Counts what it scores."""

    reference, digest, scale = "contrast:any", "c" * 64, ScoreScale(0.2)

    def __init__(self):
        self.scored = 0

    def target_scores(self, images):
        self.scored += len(images)
        return np.array([np.clip((np.percentile(image, 99) - 170) / 85, 0, 1) for image in images])


@pytest.fixture
def judged(tmp_path):
    """A judge of stored images, of which the first half shows little contrast, with a counter of its scores."""
    flat = [np.clip(picture(seed) * 0.05 + 60, 0, 255).astype(np.uint8) for seed in range(15)]
    stored = dict(zip(KEYS, flat + [picture(seed) for seed in range(15)], strict=True))
    detector = Contrast()
    store = EmbeddingStore(tmp_path, detector.digest)
    return CachedDetector(detector, store, lambda keys: [stored[key] for key in keys]), detector


def test_a_target_that_is_weakened_is_seen_in_the_clear_view(judged):
    judge, _ = judged
    plain = ViewedJudge(judge, VIEWS["none"], 0.5, lambda: KEYS[:2])
    viewed = ViewedJudge(judge, VIEWS["contrast"], 0.5, lambda: KEYS[:2])
    dark = View("dimmed 1", dimmed)
    assert all(plain.detects(KEYS[15:]))
    assert not any(plain.detects(KEYS[15:], dark))
    assert all(viewed.detects(KEYS[15:], dark))
    assert [threshold.value for threshold in viewed.thresholds] == [0.2, 0.5]
    assert plain.view_scores(KEYS) is None
    assert len(viewed.thresholds) == 2
    assert viewed.view_scores(KEYS).shape == (30,)


def test_a_view_only_doubles_what_the_judge_scores_and_its_scores_are_kept(judged, tmp_path):
    judge, detector = judged
    viewed = ViewedJudge(judge, VIEWS["contrast"], 0.5, lambda: KEYS[:15])
    for _ in range(2):
        viewed.detects(KEYS)
        viewed.view_scores(KEYS)
    assert detector.scored == 2 * len(KEYS)
    again = CachedDetector(detector, EmbeddingStore(tmp_path, detector.digest), lambda keys: [])
    assert ViewedJudge(again, VIEWS["contrast"], 0.5, lambda: KEYS[:15]).detects(KEYS) == viewed.detects(KEYS)
    assert detector.scored == 2 * len(KEYS)


def test_a_clip_judge_sees_the_changed_image_and_keeps_both_embeddings_apart(dossier, tmp_path):
    stored = {key: dimmed(picture(place)) for place, key in enumerate(KEYS[:5])}
    keys = list(stored)
    scorer = JudgeLoader("cpu").clip_scorer("atelier:judge", dossier, tmp_path, lambda each: [stored[key] for key in each])
    through = scorer.through(CLEAR)
    assert through is scorer.through(CLEAR)
    assert through.digest != scorer.digest
    assert np.array_equal(through.embeddings(keys), scorer.judge.embed_images([clear_view(image) for image in stored.values()]))
    assert np.array_equal(scorer.embeddings(keys), scorer.judge.embed_images(list(stored.values())))
    assert not np.array_equal(through.embeddings(keys), scorer.embeddings(keys))
    dark = scorer.through(View("dimmed 1", dimmed))
    assert dark.through(CLEAR).digest not in {dark.digest, through.digest, scorer.digest}
    assert not np.array_equal(dark.through(CLEAR).embeddings(keys), dark.embeddings(keys))
