"""LPIPS with random AlexNet weights in torch's cache, against the LPIPS of torchmetrics."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError
from dmun_audit.measures import perceptual
from dmun_audit.measures.perceptual import BATCH_SIZE, alexnet_path, check_perceptual, open_perceptual

pytestmark = pytest.mark.slow

torchvision_compatibility.make_importable()


def write_alexnet(cache, weights):
    """Save `weights` as torchvision's AlexNet in torch's cache; return the file."""
    path = cache / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def weights():
    """A state dict of AlexNet with random features; the tensors of its classifier store one number each."""
    import torchvision

    torch.manual_seed(0)
    state = torchvision.models.alexnet(weights=None).state_dict()
    return {key: value if "features" in key else torch.zeros(1).expand(value.shape) for key, value in state.items()}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def alexnet(cache, weights, monkeypatch):
    path = write_alexnet(cache, weights)
    monkeypatch.setattr(perceptual, "ALEXNET_DIGEST", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    return path


def images(count, size=(64, 64), seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(64, 64), (97, 130)])
def test_distances_equal_the_lpips_of_torchmetrics(alexnet, size):
    from torchmetrics.functional.image.lpips import learned_perceptual_image_patch_similarity

    left, right = images(3, size), images(3, size, seed=1)
    right[1] = (left[1] * 0.9 + 0.1 * right[1]).astype(np.uint8)
    tensors = [torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2).float() / 127.5 - 1.0 for side in (left, right)]
    expected = learned_perceptual_image_patch_similarity(*tensors, net_type="alex", reduction="none")
    distances = open_perceptual("lpips").distances(left, right)
    assert distances.min() > 0.0
    assert distances == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-6)


def test_the_same_image_has_no_distance_and_order_does_not_matter(alexnet):
    opened = open_perceptual("lpips")
    left, right = images(2), images(2, seed=1)
    assert opened.distances(left, left).tolist() == [0.0, 0.0]
    assert opened.distances(left, right) == pytest.approx(opened.distances(right, left), rel=1e-6)
    assert opened.distances([], []).shape == (0,)


def test_a_greater_change_is_further_away(alexnet):
    calm = np.tile(np.linspace(0, 255, 64)[:, None, None], (1, 64, 3))
    noise = np.random.default_rng(3).normal(size=calm.shape)
    changed = [np.clip(calm + strength * noise, 0, 255).astype(np.uint8) for strength in (3, 15, 60)]
    distances = open_perceptual("lpips").distances([calm.astype(np.uint8)] * 3, changed)
    assert distances[0] < distances[1] < distances[2]


def test_a_distance_does_not_depend_on_its_batch(alexnet):
    opened = open_perceptual("lpips")
    left, right = images(BATCH_SIZE + 3), images(BATCH_SIZE + 3, seed=1)
    distances = opened.distances(left, right)
    assert distances.shape == (BATCH_SIZE + 3,)
    for index in (0, BATCH_SIZE - 1, BATCH_SIZE + 2):
        assert opened.distances(left[index : index + 1], right[index : index + 1])[0] == distances[index]


@pytest.mark.slow
def test_other_weights_have_another_digest(alexnet, cache, weights, monkeypatch):
    first = open_perceptual("lpips")
    assert first.digest == open_perceptual("lpips").digest
    path = write_alexnet(cache, {key: 1.01 * value for key, value in weights.items()})
    monkeypatch.setattr(perceptual, "ALEXNET_DIGEST", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    assert open_perceptual("lpips").digest != first.digest


def test_missing_weights_are_one_error_that_names_the_file_and_its_place(cache):
    with pytest.raises(LoadError) as error:
        open_perceptual("lpips")
    assert str(cache / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth") in error.value.what
    assert "download.pytorch.org/models/alexnet-owt-7be5be79.pth" in error.value.remedy
    assert not any(cache.iterdir())


@pytest.mark.parametrize("name", ["", "LPIPS", "dreamsim"])
def test_an_unknown_distance_is_refused(name):
    with pytest.raises(LoadError, match="lpips"):
        check_perceptual(name)


def test_a_file_of_another_digest_is_refused(cache, weights):
    write_alexnet(cache, weights)
    with pytest.raises(LoadError, match="damaged, or another file") as error:
        open_perceptual("lpips")
    assert "7be5be79" in error.value.why


class Payload:
    def __reduce__(self):
        return print, ("code of the file was run",)


@pytest.mark.parametrize("content", ["no weights", "wrong shapes", "other names", "a list", "code"])
def test_a_file_that_is_no_alexnet_is_refused_and_its_code_does_not_run(cache, weights, monkeypatch, capsys, content):
    wrong = {
        "wrong shapes": {key: value[..., :1] for key, value in weights.items()},
        "other names": {f"module.{key}": value for key, value in weights.items()},
        "a list": [1, 2],
        "code": Payload(),
        "no weights": {},
    }
    path = write_alexnet(cache, wrong[content])
    monkeypatch.setattr(perceptual, "ALEXNET_DIGEST", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    with pytest.raises(LoadError) as error:
        open_perceptual("lpips")
    assert str(path) in error.value.what
    assert "code of the file" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (images(2), images(3)),
        (images(2), images(2, (64, 65))),
        (images(1, (31, 64)), images(1, (31, 64))),
        ([np.zeros((64, 64), np.uint8)], [np.zeros((64, 64), np.uint8)]),
    ],
)
def test_images_that_cannot_be_compared_are_refused(alexnet, left, right):
    with pytest.raises(ValueError, match="LPIPS"):
        open_perceptual("lpips").distances(left, right)


@pytest.mark.parametrize(("torch_home", "xdg"), [(True, True), (False, True), (False, False)])
def test_the_path_is_in_torch_s_cache(tmp_path, monkeypatch, torch_home, xdg):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, given in (("TORCH_HOME", torch_home), ("XDG_CACHE_HOME", xdg)):
        monkeypatch.setenv(name, str(tmp_path / name)) if given else monkeypatch.delenv(name, raising=False)
    assert str(alexnet_path().parent) == f"{torch.hub.get_dir()}/checkpoints"


def test_checking_loads_no_torch(cache):
    code = (
        "import sys; from dmun_audit.measures.perceptual import check_perceptual as c\ntry: c('lpips')\nexcept Exception: pass\n"
    )
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)
