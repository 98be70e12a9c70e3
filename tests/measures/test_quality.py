"""CLIP-IQA against its definition, and collapsed images against images with little in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dmun_audit.atelier.painters import STYLES, SUBJECTS, paint
from dmun_audit.measures.quality import IQA_PROMPTS, clip_iqa, collapsed


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_clip_iqa_is_the_softmax_over_the_good_and_the_bad_prompt():
    generator = np.random.default_rng(0)
    images, prompts = unit(generator.normal(size=(7, 32))), unit(generator.normal(size=(2, 32)))
    expected = (100.0 * torch.from_numpy(images) @ torch.from_numpy(prompts).T).softmax(dim=1)[:, 0].numpy()
    assert clip_iqa(images, prompts, 100.0) == pytest.approx(expected, rel=1e-9)
    assert clip_iqa(images, prompts[::-1], 100.0) == pytest.approx(1.0 - expected, abs=1e-12)


def test_an_image_like_the_good_prompt_is_better():
    prompts = np.eye(2, 8, dtype=np.float32)
    assert IQA_PROMPTS == ("Good photo.", "Bad photo.")
    good, bad, neither = clip_iqa(np.eye(3, 8, dtype=np.float32), prompts, 10.0)
    assert (good, neither, bad) == pytest.approx((1.0, 0.5, 0.0), abs=1e-4)
    with pytest.raises(ValueError, match="two prompts"):
        clip_iqa(np.eye(3), np.eye(3), 10.0)


def filled(colour, size=64):
    return np.full((size, size, 3), colour, dtype=np.uint8)


def almost_flat():
    image = filled((90, 80, 70))
    image = image + np.random.default_rng(0).integers(-5, 6, image.shape)
    image[10:18, 10:18] = 255  # 1.6% of the pixels
    return image.astype(np.uint8)


def static(contrast):
    noise = np.random.default_rng(0).normal(128, contrast, (64, 64, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def smooth():
    return np.broadcast_to(np.linspace(60, 190, 64)[:, None, None], (64, 64, 3)).astype(np.uint8)


def framed():
    image = filled(0)
    image[:4], image[-4:], image[:, :4], image[:, -4:] = 255, 255, 255, 255
    return image


def noised_uniform(spread):
    return np.clip(128 + np.random.default_rng(1).normal(0, spread, (64, 64, 3)), 0, 255).astype(np.uint8)


def blotches(size):
    coarse = np.random.default_rng(2).integers(0, 256, (64 // size, 64 // size, 3), np.uint8)
    return coarse.repeat(size, axis=0).repeat(size, axis=1)


def rubbish():
    return [smooth(), framed(), noised_uniform(10), noised_uniform(20), blotches(2), blotches(4)]


@pytest.mark.parametrize(
    "image", [filled(0), filled(128), filled((255, 0, 0)), almost_flat(), static(20), static(90), *rubbish()]
)
def test_an_image_without_content_is_collapsed(image):
    assert collapsed([image]).tolist() == [True]


def drawn_on_white():
    image = filled(255)
    image[20:32, 20:32] = (200, 30, 30)  # 3.5% of the pixels
    return image


def stripes():
    return np.where(np.arange(64)[:, None, None] // 3 % 2 == 0, filled(250), filled(5)).astype(np.uint8)


@pytest.mark.parametrize("image", [drawn_on_white(), stripes()])
def test_an_image_with_little_content_is_not_collapsed(image):
    assert collapsed([image]).tolist() == [False]


def test_no_painting_of_the_atelier_is_collapsed():
    paintings = [paint(style, subject, 0) for style in STYLES for subject in SUBJECTS]
    assert not collapsed(paintings).any()


def test_each_image_is_judged_by_itself():
    assert collapsed([filled(0), drawn_on_white(), static(50), stripes()]).tolist() == [True, False, True, False]
