"""Samplers: every family draws what diffusers draws, with the policy's settings or the model's own."""

import dataclasses

import numpy as np
import pytest
import torch
from families import FAMILIES, latent_consistency, save_family

from dmun_audit._util.errors import UsageError
from dmun_audit.models.loading import load_pipeline
from dmun_audit.models.references import parse_reference
from dmun_audit.policy import Sampling
from dmun_audit.render.defaults import default_guidance, default_steps, image_size
from dmun_audit.render.sampling import PipelineSampler, differences
from dmun_audit.render.schedulers import CLASSES

pytestmark = pytest.mark.slow

PROMPTS, SEEDS = ["a painting in the style of Van Gogh", "a house by the sea at night, with a boat"], [3, 4]
DIFFUSION, FLOW = ["sd1", "sd2", "sdxl", "pixart"], ["sd3", "flux", "auraflow"]
SWITCHED_OFF = {"pixart": {"use_resolution_binning": False, "clean_caption": False}}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a family's pipeline, made when it is first asked for. Tests never write into it."""
    root = tmp_path_factory.mktemp("families")

    def find(name):
        return root / name if (root / name).exists() else save_family(name, root / name)

    return find


@pytest.fixture
def load(folder):
    return lambda name: load_pipeline(parse_reference(str(folder(name))))


def sampling(**settings):
    return Sampling(**{"steps": 2, "guidance": "model", "batch": 1, "threads": 1, "dtype": "float32", "size": 32, **settings})


def drawn_by_diffusers(pipeline, prompts, seeds, **settings):
    output = pipeline(
        prompt=prompts,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
        **{"num_inference_steps": 2, "height": 32, "width": 32, **settings},
    )
    return (output.images * 255).round().astype(np.uint8)


def encodings(model):
    """How many texts the model's first text encoder has read, counted as it reads them."""
    read = []
    model.pipeline.text_encoder.register_forward_hook(lambda module, given, output: read.append(len(output[0])))
    return read


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_is_the_one_that_the_pipeline_draws_from_the_prompt_itself(family, load):
    model = load(family)
    sampler = PipelineSampler(model, sampling(), "cpu")
    for prompt, seed in zip(PROMPTS, SEEDS, strict=True):
        pixels = sampler.sample([prompt], [seed])
        assert pixels.shape == (1, 32, 32, 3)
        assert pixels.dtype == np.uint8
        assert pixels.std() > 10
        assert np.array_equal(pixels, drawn_by_diffusers(model.pipeline, [prompt], [seed], **SWITCHED_OFF.get(family, {})))


@pytest.mark.parametrize("family", FAMILIES)
def test_images_without_guidance_are_those_of_the_pipeline(family, load):
    model = load(family)
    pixels = PipelineSampler(model, sampling(guidance=1.0), "cpu").sample(PROMPTS[:1], SEEDS[:1])
    theirs = drawn_by_diffusers(model.pipeline, PROMPTS[:1], SEEDS[:1], guidance_scale=1.0, **SWITCHED_OFF.get(family, {}))
    assert np.array_equal(pixels, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_depends_on_its_place_in_a_batch_no_more_than_on_what_was_drawn_before(family, load):
    first, second = (PipelineSampler(load(family), sampling(batch=3), "cpu") for _ in range(2))
    first.sample(["something else"] * 3, [7, 8, 9])
    pixels = first.sample(PROMPTS, SEEDS)
    assert pixels.shape == (2, 32, 32, 3)
    assert np.array_equal(pixels, second.sample(PROMPTS, SEEDS))
    assert not np.array_equal(pixels[0], pixels[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_prompt_is_encoded_once(family, load):
    model = load(family)
    read = encodings(model)
    sampler = PipelineSampler(model, sampling(batch=2), "cpu")
    sampler.sample(PROMPTS, SEEDS)
    once = len(read)
    assert 2 <= once <= 4  # both prompts; where there is guidance, the negative one with one prompt at its side
    for _ in range(3):
        sampler.sample(PROMPTS[::-1], SEEDS)
    assert len(read) == once


def test_a_family_that_is_not_known_gets_the_prompts_as_texts(load):
    pipeline = latent_consistency()
    pipeline.set_progress_bar_config(disable=True)
    sampler = PipelineSampler(dataclasses.replace(load("sd1"), pipeline=pipeline), sampling(batch=2), "cpu")
    assert np.array_equal(sampler.sample(PROMPTS, SEEDS), drawn_by_diffusers(pipeline, PROMPTS, SEEDS))


def test_a_pipeline_of_another_package_is_asked_for_floats_and_draws_the_same(load):
    model = load("sd1")
    own = PipelineSampler(model, sampling(), "cpu")
    pixels = own.sample(PROMPTS[:1], SEEDS[:1])
    model.pipeline.__class__ = type("Pipeline", (type(model.pipeline),), {"__module__": "mine"})
    other = PipelineSampler(model, sampling(), "cpu")
    assert np.array_equal(other.sample(PROMPTS[:1], SEEDS[:1]), pixels)
    assert (own._output_type, other._output_type) == ("pt", "np")


def test_more_prompts_than_a_batch_holds_are_refused(load):
    with pytest.raises(ValueError, match="2 prompts for a batch of 1"):
        PipelineSampler(load("sd1"), sampling(), "cpu").sample(PROMPTS, SEEDS)


def test_an_adapter_gets_the_prompts_of_the_whole_batch_before_it_is_drawn(load):
    model = load("sd1")
    batches, order = [], []
    model.pipeline.unet.register_forward_pre_hook(lambda module, inputs: order.append("drawn"))

    def set_prompts(prompts):
        batches.append(prompts)
        order.append("prompts set")

    adapted = dataclasses.replace(model, set_prompts=set_prompts)
    PipelineSampler(adapted, sampling(batch=3), "cpu").sample(PROMPTS, SEEDS)
    assert batches == [[*PROMPTS, PROMPTS[-1]]]
    assert order[0] == "prompts set"


# Settings of the model itself.


@pytest.mark.parametrize(
    ("family", "size", "steps", "guidance"),
    [
        ("sd1", (32, 32), 50, 7.5),
        ("sdxl", (32, 32), 50, 5.0),
        ("sd3", (32, 32), 28, 7.0),
        ("flux", (1024, 1024), 28, 3.5),
        ("pixart", (32, 32), 20, 4.5),
        ("auraflow", (32, 32), 50, 3.5),
    ],
)
def test_what_the_policy_leaves_to_the_model_is_the_pipelines_own(family, size, steps, guidance, load):
    model = load(family)
    sampler = PipelineSampler(model, sampling(steps="model", size="model"), "cpu")
    assert sampler.size == image_size(model.pipeline) == size
    assert (sampler.settings["steps"], sampler.settings["guidance"]) == (steps, guidance)
    assert sampler.settings["scheduler"] == type(model.pipeline.scheduler).__name__


def test_the_model_card_goes_before_the_pipelines_signature(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder("sd1"), tmp_path / "copy")
    (copy / "README.md").write_text("---\ninference:\n  parameters:\n    num_inference_steps: 7\n    guidance_scale: 2\n---\n")
    pipeline = load_pipeline(parse_reference(str(copy))).pipeline
    assert (default_steps(pipeline), default_guidance(pipeline)) == (7, 2.0)


def test_latents_that_are_not_square_give_images_that_are_not(load):
    pipeline = load("sd1").pipeline
    pipeline.unet.register_to_config(sample_size=[4, 6])
    assert image_size(pipeline) == (32, 48)


# Settings of the policy.


def test_steps_of_the_policy_make_another_image(load):
    model = load("sd1")
    images = [PipelineSampler(model, sampling(steps=steps), "cpu").sample(PROMPTS[:1], SEEDS[:1]) for steps in (2, 3)]
    assert not np.array_equal(*images)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "flux"])
def test_a_negative_prompt_changes_the_image_as_it_does_in_diffusers(family, load):
    model = load(family)
    plain = PipelineSampler(model, sampling(guidance=6.0), "cpu")
    asked = PipelineSampler(model, sampling(guidance=6.0, negative_prompt="a boat"), "cpu")
    assert "negative_prompt" not in plain.settings
    assert asked.settings["negative_prompt"] == "a boat"
    pixels = asked.sample(PROMPTS[:1], SEEDS[:1])
    assert not np.array_equal(pixels, plain.sample(PROMPTS[:1], SEEDS[:1]))
    settings = {"guidance_scale": 6.0, "negative_prompt": ["a boat"], **SWITCHED_OFF.get(family, {})}
    assert np.array_equal(pixels, drawn_by_diffusers(model.pipeline, PROMPTS[:1], SEEDS[:1], **settings))


@pytest.mark.parametrize(("family", "guidance"), [("flux", 3.5), ("sd1", 1.0)])
def test_a_negative_prompt_that_would_do_nothing_is_refused(family, guidance, load):
    with pytest.raises(UsageError, match=r"negative_prompt = 'a boat' would do nothing"):
        PipelineSampler(load(family), sampling(guidance=guidance, negative_prompt="a boat"), "cpu")


@pytest.mark.parametrize("family", DIFFUSION)
@pytest.mark.parametrize("name", [name for name in CLASSES if not name.startswith("flow-")])
def test_a_scheduler_of_the_policy_keeps_betas_and_prediction_type(family, name, load):
    model = load(family)
    own = model.pipeline.scheduler
    sampler = PipelineSampler(model, sampling(scheduler=name), "cpu")
    assert sampler.settings["scheduler"] == CLASSES[name]
    for key in ("beta_start", "beta_end", "beta_schedule", "prediction_type"):
        assert sampler.settings["settings"][key] == (
            own.config[key] if isinstance(own.config[key], str) else str(own.config[key])
        )
    assert sampler.sample(PROMPTS[:1], SEEDS[:1]).std() > 10
    assert model.pipeline.scheduler is own


@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_latents_are_not_clipped_by_a_scheduler_that_the_policy_names(name, load):
    settings = PipelineSampler(load("pixart"), sampling(scheduler=name), "cpu").settings["settings"]
    assert settings["clip_sample"] is False
    assert settings["skip_prk_steps"] is True


def test_the_models_own_scheduler_by_name_is_the_models_own(load):
    model = load("sd2")
    assert (
        PipelineSampler(model, sampling(scheduler="ddim"), "cpu").settings == PipelineSampler(model, sampling(), "cpu").settings
    )


@pytest.mark.parametrize("family", FLOW)
def test_flow_matching_takes_no_scheduler_of_diffusion(family, load):
    with pytest.raises(UsageError, match=r"(?s)scheduler = 'ddim' does not suit.*flow matching.*take one of flow-euler"):
        PipelineSampler(load(family), sampling(scheduler="ddim"), "cpu")
    model = load(family)
    assert PipelineSampler(model, sampling(scheduler="flow-euler"), "cpu").settings["scheduler"] == CLASSES["flow-euler"]


def test_diffusion_takes_no_scheduler_of_flow_matching(load):
    with pytest.raises(UsageError, match=r"(?s)'flow-euler' does not suit.*for diffusion.*ddim, pndm, lms, euler, dpmsolver"):
        PipelineSampler(load("sd1"), sampling(scheduler="flow-euler"), "cpu")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_size_that_the_model_cannot_draw_is_one_clear_error(family, load):
    model = load(family)
    with pytest.raises(UsageError, match=r"(?s)cannot draw images of 37 by 37 pixels.*multiples of (8|16).*set sampling.size to"):
        PipelineSampler(model, sampling(size=37), "cpu")
    assert PipelineSampler(model, sampling(size=48), "cpu").sample(PROMPTS[:1], SEEDS[:1]).shape == (1, 48, 48, 3)


def test_a_size_beyond_the_models_positions_is_one_clear_error(load):
    with pytest.raises(UsageError, match="positions for 128 at most"):
        PipelineSampler(load("sd3"), sampling(size=144), "cpu")


# Pairs.


def test_the_candidate_shares_steps_guidance_and_size_with_the_base(load):
    left = sampling(steps="model", size="model")
    base = PipelineSampler(load("sd3"), left, "cpu")
    candidate = PipelineSampler(load("flux"), left, "cpu", like=base)
    assert candidate.size == base.size == (32, 32)
    assert [candidate.settings[key] for key in ("steps", "guidance")] == [28, 7.0]


def test_a_pair_of_one_family_raises_no_warning(load):
    base, candidate = (PipelineSampler(load("sdxl"), sampling(), "cpu") for _ in range(2))
    assert differences(base, candidate) == []


def test_another_scheduler_and_another_prediction_are_said_of_the_candidate(load):
    base, candidate = PipelineSampler(load("sd1"), sampling(), "cpu"), PipelineSampler(load("sd2"), sampling(), "cpu")
    scheduler, prediction = differences(base, candidate)
    assert "scheduler is DDIMScheduler, the base's PNDMScheduler" in scheduler
    assert "predicts v_prediction, the base epsilon" in prediction


def test_the_same_scheduler_with_other_settings_is_said_of_the_candidate(load):
    other = load("sd1")
    other.pipeline.scheduler.register_to_config(beta_end=0.02)
    (warning,) = differences(PipelineSampler(load("sd1"), sampling(), "cpu"), PipelineSampler(other, sampling(), "cpu"))
    assert "beta_end 0.012 → 0.02" in warning


def test_another_denoiser_is_said_of_the_candidate(load):
    base, candidate = PipelineSampler(load("sd3"), sampling(), "cpu"), PipelineSampler(load("flux"), sampling(), "cpu")
    assert any(
        "denoiser is a FluxTransformer2DModel, the base's a SD3Transformer2DModel" in warning
        for warning in differences(base, candidate)
    )
