"""`frechet:`: the distance on DINOv2, CLIP and FID's InceptionV3, computed once more by hand, and what cannot be opened."""

import importlib.util

import numpy as np
import pytest
import small_networks
from PIL import Image
from transformers import AutoImageProcessor, Dinov2Model

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.loading import JudgeLoader
from dmun_audit.measures.frechet import frechet_distance
from dmun_audit.measures.kinds import frechet
from dmun_audit.measures.metric_kind import ReferencedMetric
from dmun_audit.measures.references import open_metrics, parse_metric
from dmun_audit.measures.torchmetrics_fid import torchmetrics_fid
from dmun_audit.models.references import atelier_judge

PAIRS = 6
PROMPTS = ["a house"] * PAIRS
HAS_INCEPTION = importlib.util.find_spec("torch_fidelity") is not None


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    return small_networks.save_dino(tmp_path_factory.mktemp("networks") / "dino")


@pytest.fixture
def photos(tmp_path):
    """A folder with seven images of several sizes, and a file that is none."""
    rng = np.random.default_rng(5)
    for index in range(7):
        Image.fromarray(rng.integers(0, 256, (40 + index, 36, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


@pytest.fixture(scope="module")
def pairs():
    images = np.random.default_rng(0).integers(0, 256, (2, PAIRS, 40, 40, 3), dtype=np.uint8)
    return list(images[0]), list(images[1] // 2)


def opened(text):
    (metric,) = open_metrics([text], JudgeLoader("cpu"))
    return metric


def first_tokens(folder, images):
    """DINOv2's features, as its own classes give them."""
    import torch

    network, processor = Dinov2Model.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        pixels = processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"]
        return network(pixel_values=pixels).last_hidden_state[:, 0].numpy()


def test_on_dinov2_it_is_the_distance_of_first_tokens(dino, pairs):
    metric = opened(f"frechet:{dino}")
    assert isinstance(metric, ReferencedMetric)
    values = metric.measure(*pairs, PROMPTS)
    before, after = (first_tokens(dino, side) for side in pairs)
    assert values.keys() == {"fd_dinov2", "fd_dinov2.images", "fd_dinov2.features"}
    assert values["fd_dinov2"] == pytest.approx(torchmetrics_fid(before, after), rel=1e-3)
    assert values["fd_dinov2"] > 0.1
    assert (values["fd_dinov2.images"], values["fd_dinov2.features"]) == (PAIRS, 32)


def test_against_real_images_each_side_has_its_distance(dino, photos, pairs):
    values = opened(f"frechet:{dino}#{photos}").measure(*pairs, PROMPTS)
    real = np.concatenate([first_tokens(dino, [np.asarray(Image.open(file))]) for file in sorted(photos.glob("*.png"))])
    for side, images in zip(("base", "candidate"), pairs, strict=True):
        expected = frechet_distance(real, first_tokens(dino, images))
        assert values[f"fd_dinov2.real_{side}"] == pytest.approx(expected, rel=1e-3)
    assert values["fd_dinov2.real_images"] == 7


def test_on_clip_features_keep_their_length(pairs):
    metric = opened(f"frechet:local-dir:{atelier_judge()}")
    judge = JudgeLoader("cpu").clip_model(f"local-dir:{atelier_judge()}")
    features = judge.image_features(pairs[0])
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(features / lengths, judge.embed_images(pairs[0]), atol=1e-6)
    assert np.abs(lengths - 1).min() > 0.01
    values = metric.measure(*pairs, PROMPTS)
    assert values["clip_fid"] == pytest.approx(frechet_distance(features, judge.image_features(pairs[1])))


@pytest.mark.slow
@pytest.mark.skipif(not HAS_INCEPTION, reason="torch-fidelity is not installed")
def test_on_inception_it_is_the_fid_of_torchmetrics(tmp_path, pairs):
    import networks_of_metrics
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    network = networks_of_metrics.save_inception(tmp_path / "inception.pth")
    metric = opened(f"frechet:{tmp_path / 'inception.pth'}")
    values = metric.measure(*pairs, PROMPTS)
    before, after = (network(torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2))[0].numpy() for side in pairs)
    assert values["fid_inception"] == pytest.approx(frechet_distance(before, after), rel=1e-3)
    assert values["fid_inception.features"] == 2048
    assert metric.digest == opened(f"frechet:{tmp_path / 'inception.pth'}").digest
    theirs = FrechetInceptionDistance(2048, feature_extractor_weights_path=str(tmp_path / "inception.pth"), antialias=False)
    theirs.set_dtype(torch.float64)
    for side, real in zip(pairs, (True, False), strict=True):
        theirs.update(torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2), real=real)
    assert values["fid_inception"] == pytest.approx(float(theirs.compute()), rel=0.02)


def test_equal_sets_have_the_distance_0_and_one_pair_has_none(dino, pairs):
    metric = opened(f"frechet:{dino}")
    assert metric.measure(pairs[0], pairs[0], PROMPTS)["fd_dinov2"] == pytest.approx(0.0, abs=1e-4)
    assert metric.measure(pairs[0][:1], pairs[1][:1], PROMPTS[:1]) == {}


def test_the_digest_follows_weights_and_real_images(dino, photos):
    plain, real = opened(f"frechet:{dino}"), opened(f"frechet:{dino}#{photos}")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(photos / "0.png")
    other = opened(f"frechet:{dino}#{photos}")
    assert len({plain.digest, real.digest, other.digest}) == 3
    assert plain.digest == opened(f"frechet:{dino}").digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frechet:./nowhere", "there is no folder ./nowhere"),
        ("frechet:{empty}", "no config.json"),
        ("frechet:local-dir:{empty}", "cannot use its CLIP model"),
        ("frechet:{dino}#{empty}", "0 images in"),
        ("frechet:{dino}#{broken}", "is no usable image"),
        ("frechet:", "names no model"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_loaded(text, words, dino, tmp_path):
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    broken.mkdir()
    for name in ("a.png", "b.png"):
        (broken / name).write_text("no image")
    with pytest.raises(LoadError, match=words):
        parse_metric(text.format(dino=dino, empty=empty, broken=broken))


def test_a_weights_file_needs_the_package(tmp_path, monkeypatch):
    (tmp_path / "inception.pth").write_bytes(b"")
    monkeypatch.setattr(frechet, "find_spec", lambda name: None)
    with pytest.raises(LoadError, match="needs the package torch-fidelity"):
        parse_metric(f"frechet:{tmp_path / 'inception.pth'}")


@pytest.mark.skipif(not HAS_INCEPTION, reason="torch-fidelity is not installed")
def test_another_file_than_inception_is_one_error(tmp_path):
    import torch

    torch.save({"conv.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(LoadError, match="does not hold FID's InceptionV3"):
        opened(f"frechet:{tmp_path / 'other.pth'}")


def test_a_network_without_a_token_for_the_image_is_refused(tmp_path):
    folder = small_networks.save_classifier(tmp_path / "vit")
    with pytest.raises(LoadError, match="family 'vit'"):
        opened(f"frechet:{folder}")
