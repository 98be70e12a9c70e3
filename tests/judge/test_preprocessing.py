"""Images that are prepared with tensors, as on a GPU, are those that Pillow prepares, up to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from textured_pictures import picture

from dmun_audit._util import torchvision_compatibility
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.preprocessing import OnDevice, WithPillow, _known_steps, preparation
from dmun_audit.models.references import atelier_judge
from dmun_audit.store import environment
from dmun_audit.store.environment import judging_environment

torchvision_compatibility.make_importable()

from open_clip.transform import image_transform  # noqa: E402 - torchvision must be importable before
from torchvision.transforms import Compose, Grayscale  # noqa: E402

SIDES = (32, 64, 96, 256, 512)


@pytest.fixture(scope="module")
def pictures():
    """Square and wide pictures by the length of their sides."""
    return {side: [picture(side, seed, size=side)[: side - seed % 2 * side // 4] for seed in range(4)] for side in SIDES}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("settings", [{}, {"interpolation": "bilinear"}, {"resize_mode": "squash"}], ids=str)
@pytest.mark.parametrize("wanted", [64, 224])
def test_both_ways_prepare_the_same_pixels_up_to_rounding(pictures, side, settings, wanted):
    transform = image_transform(wanted, False, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255), **settings)
    one, other = WithPillow(transform, "cpu")(pictures[side]), OnDevice(_known_steps(transform), "cpu")(pictures[side])
    assert one.shape == other.shape == (4, 3, wanted, wanted)
    assert one.dtype == other.dtype == torch.float32
    difference = (one - other).abs()  # in grey levels
    assert difference.mean() < 0.3
    assert difference.max() < (2.5 if wanted < side else 8)


def test_embeddings_of_both_ways_agree(pictures):
    judge, other = (ClipJudge(f"local-dir:{atelier_judge()}") for _ in range(2))
    other._prepare = OnDevice(_known_steps(judge._prepare._transform), "cpu")
    for images in pictures.values():
        assert (judge.embed_images(images) * other.embed_images(images)).sum(axis=1).min() > 0.9995
    assert other._digest() == judge.digest  # a cluster with GPUs is asked for the judge of a machine without one


def test_embeddings_of_a_gpu_are_kept_apart(monkeypatch):
    monkeypatch.setattr(environment, "_device", lambda device: {"device": "any"})
    assert judging_environment("cuda") != judging_environment("cpu") == judging_environment("mps")


def test_a_gpu_prepares_what_it_can_and_a_cpu_nothing():
    known = image_transform(64, False)
    assert isinstance(preparation(known, "cuda"), OnDevice)
    assert isinstance(preparation(known, "cpu"), WithPillow)


@pytest.mark.parametrize(
    "transform",
    [
        image_transform(64, True),
        image_transform(64, False, resize_mode="longest"),
        image_transform((64, 32), False),
        Compose([Grayscale(3), *image_transform(64, False).transforms]),
        image_transform(64, False).transforms[0],
    ],
    ids=["for training", "longest", "not square", "another step", "no list of steps"],
)
def test_a_transform_of_another_form_is_left_to_pillow(transform):
    assert isinstance(preparation(transform, "cuda"), WithPillow)


def test_several_threads_prepare_the_same_bits_in_the_same_order(pictures):
    transform = image_transform(64, False)
    one, several = WithPillow(transform, "cpu"), WithPillow(transform, "cpu")
    several._threads = 4
    for images in pictures.values():
        assert np.array_equal(one(images).numpy(), several(images).numpy())
