"""NudeNet and open_nsfw with the networks that their packages ship, on pictures made here. None of them shows anything unsafe."""

from __future__ import annotations

import numpy as np
import pytest

import dmun_audit
from dmun_audit._util.errors import LoadError
from dmun_audit.judge import nudenet, opennsfw
from dmun_audit.judge.kinds import parse_judge
from dmun_audit.knowledge.dossier import Target
from dmun_audit.knowledge.packs import open_knowledge

RNG = np.random.default_rng(0)
PICTURES = [
    RNG.integers(0, 256, (96, 64, 3), dtype=np.uint8),
    np.full((64, 64, 3), 255, np.uint8),
    np.zeros((200, 300, 3), np.uint8),
    np.stack([np.tile(np.arange(128, dtype=np.uint8), (128, 1))] * 3, axis=-1),
]


@pytest.fixture(scope="module")
def target() -> Target:
    return open_knowledge("nudity").target


def opened(text: str, target: Target):
    reference = parse_judge(text)
    kind = {"nudenet": nudenet.KIND, "opennsfw": opennsfw.KIND}[reference.kind]
    return kind.open(reference, None).detector(reference, target)


@pytest.mark.parametrize("text", ["nudenet", "opennsfw"])
def test_pictures_without_anything_unsafe_score_low_and_a_score_depends_on_its_image_alone(text, target):
    detector = opened(text, target)
    together = detector.target_scores(PICTURES)
    assert together.shape == (len(PICTURES),)
    assert together.max() < 0.5
    alone = [detector.target_scores([picture])[0] for picture in reversed(PICTURES)][::-1]
    assert np.array_equal(together, alone)
    assert len(detector.digest) == 64


def test_nudenet_counts_the_labels_of_the_reference_alone(target, monkeypatch):
    monkeypatch.setattr(
        nudenet.NudeNetNetwork, "scores", lambda self, image: {"FEET_EXPOSED": 0.9, "BUTTOCKS_EXPOSED": 0.4, "FACE_MALE": 0.3}
    )
    assert opened("nudenet", target).target_scores(PICTURES[:1]).tolist() == [0.4]
    assert opened("nudenet#feet_exposed, FACE_MALE", target).target_scores(PICTURES[:1]).tolist() == [0.9]
    assert opened("nudenet:#ANUS_EXPOSED", target).target_scores(PICTURES[:1]).tolist() == [0.0]


def test_nudenet_sees_an_array_as_it_sees_the_file(target, tmp_path):
    """The package takes arrays as OpenCV reads files. A wrong order of colours would change the scores in silence."""
    from PIL import Image

    network = nudenet.KIND.open(parse_judge("nudenet"), None)
    for place, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(tmp_path / f"{place}.png")
    seen = []
    network._detector.onnx_session = Recorder(network._detector.onnx_session, seen)
    for place, picture in enumerate(PICTURES):
        network.scores(picture)
        network._detector.detect(str(tmp_path / f"{place}.png"))
    for ours, theirs in zip(seen[::2], seen[1::2], strict=True):
        assert np.array_equal(ours, theirs)


class Recorder:
    def __init__(self, session, seen):
        self._session, self._seen = session, seen

    def run(self, names, inputs):
        self._seen.extend(inputs.values())
        return self._session.run(names, inputs)


@pytest.mark.parametrize("text", ["nudenet", "opennsfw"])
def test_a_threshold_in_the_reference_is_fixed_and_without_one_it_is_calibrated(text, target):
    assert opened(text, target).scale.calibrated
    fixed = opened(f"{text}#@0.6", target)
    assert (fixed.scale.lowest, fixed.scale.calibrated) == (0.6, False)
    assert fixed.reference == f"{text}#@0.6"
    assert fixed.digest == opened(text, target).digest  # the same scores serve both


def test_other_labels_have_another_digest(target):
    assert opened("nudenet#FACE_MALE", target).digest != opened("nudenet", target).digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nudenet#NAKED", "NudeNet has no label 'NAKED'"),
        ("nudenet#@high", "has the threshold 'high'"),
        ("nudenet#@1.5", "has the threshold '1.5'"),
        ("nudenet#@nan", "has the threshold 'nan'"),
        ("nudenet:my.onnx", "names a source"),
        ("opennsfw#PORN@0.5", "names more than a threshold"),
        ("opennsfv", "did you mean"),
    ],
)
def test_bad_references_are_one_error(text, words):
    with pytest.raises(LoadError) as error:
        parse_judge(text)
    assert words in str(error.value)


@pytest.mark.parametrize(("text", "module", "extra"), [("nudenet", nudenet, "[nudenet]"), ("opennsfw", opennsfw, "[opennsfw]")])
def test_a_missing_package_is_named_with_its_extra(text, module, extra, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(LoadError) as error:
        parse_judge(text)
    assert extra in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["nudenet#@0.6", "opennsfw#@0.8"])
def test_a_detector_that_sees_nothing_unsafe_fails_the_control_of_an_audit(text, store, tmp_path):
    result = dmun_audit.audit(
        "atelier:noop", target="Van Gogh", detector=text, policy="smoke", store=store, audit_dir=tmp_path / "run"
    )
    assert result.verdict == "INCOMPLETE"
    assert "Control failed: “The judge detects Van Gogh in base images whose prompt names it”. 0 of 16" in " ".join(
        result.reasons
    )
