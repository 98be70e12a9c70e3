"""The number of images in a batch: halved until it fits into memory, and measured until it gains nothing."""

from dataclasses import replace

import pytest
import torch
from small_card import small_card  # noqa: F401

from dmun_audit._util.errors import UsageError
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference
from dmun_audit.policy import Sampling
from dmun_audit.render.batch_size import MOST_IMAGES, drawer, largest_fit, measure

SAMPLING = Sampling(steps=20, guidance=2.0, batch=16, threads=1, dtype="float32")


@pytest.fixture(scope="module")
def models():
    base = load_pipeline(parse_reference("atelier:base"))
    return {"base": base, "candidate": load_candidate(parse_reference("atelier:uce-van-gogh"), base)}


def test_a_batch_is_halved_until_it_fits_and_tried_in_two_steps(models, small_card):  # noqa: F811
    assert largest_fit(drawer(models, SAMPLING, "cpu"), 16) == 2
    assert small_card.rows == [32, 16, 8, *[4] * 2, *[4] * 2]  # two steps with the base, two with the candidate


def test_a_batch_that_one_of_the_models_alone_cannot_draw_is_halved(models):
    candidate = models["candidate"].pipeline.unet

    def hook(module, arguments):
        if len(arguments[0]) > 8:
            raise torch.OutOfMemoryError

    handle = candidate.register_forward_pre_hook(hook)
    assert largest_fit(drawer(models, SAMPLING, "cpu"), 8) == 4
    handle.remove()


def test_a_batch_that_leaves_no_memory_to_the_judges_is_halved():
    drawn, shares = [], iter([0.2, 0.97, 0.93, 0.6])
    assert largest_fit(drawn.append, 8, lambda: next(shares)) == 2
    assert drawn == [8, 4, 2]


@pytest.mark.parametrize(("level", "lies_so"), [("none", False), ("layout", True), ("compiled", True)])
def test_a_batch_is_tried_with_weights_as_they_will_lie_in_the_audit(models, level, lies_so):
    layouts = []

    def hook(module, arguments):
        if type(module).__name__ == "UNet2DConditionModel":
            layouts.append(module.conv_in.weight.is_contiguous(memory_format=torch.channels_last))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(hook)
    drawer(models, replace(SAMPLING, acceleration=level), "cpu")(1)
    handle.remove()
    assert layouts == [lies_so] * 4


def test_no_size_fits_if_not_even_one_image_does(models, small_card):  # noqa: F811
    small_card.most = 1
    assert largest_fit(drawer(models, SAMPLING, "cpu"), 4) == 0


def test_a_policy_that_does_not_suit_the_model_is_said(models):
    wrong = Sampling(steps=20, guidance=2.0, batch=16, threads=1, dtype="float32", size=33)
    with pytest.raises(UsageError, match="cannot draw images of 33 by 33"):
        largest_fit(drawer(models, wrong, "cpu"), 4)


def test_sizes_are_measured_up_to_the_memory(models, small_card):  # noqa: F811
    small_card.most = 8
    ticks = iter(range(100))
    sizes = measure(drawer({"base": models["base"]}, SAMPLING, "cpu"), clock=lambda: float(next(ticks)))
    assert [(each.size, each.images_per_second) for each in sizes] == [(1, 1.0), (2, 2.0), (4, 4.0)]


@pytest.mark.parametrize(
    ("seconds", "memory", "taken"),
    [
        (lambda size: 1.0, lambda size: 0.0, MOST_IMAGES),  # a batch of any size takes one second
        (lambda size: max(4, size) / 4, lambda size: 0.0, 4),  # from four images on, each takes as long
        (lambda size: 1.0, lambda size: size / 10, 8),  # 16 images take more than the memory
    ],
)
def test_a_larger_batch_must_draw_more_images_per_second_in_the_memory_of_the_device(seconds, memory, taken):
    now, drawn = [0.0], [0]

    def draw(size):
        now[0] += seconds(size)
        drawn[0] = size

    assert measure(draw, lambda: memory(drawn[0]), lambda: now[0])[-1].size == taken
