"""Pipelines made faster: the same images up to rounding, from weights that base and candidate still share."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import torch
from families import FAMILIES, save_family
from safetensors.torch import save_file

from dmun_audit._util.errors import UsageError
from dmun_audit.models.fingerprint import modules, weights_digest
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference
from dmun_audit.policy import Sampling
from dmun_audit.render import acceleration
from dmun_audit.render.acceleration import common_level, keep_compiled_code
from dmun_audit.render.defaults import denoiser
from dmun_audit.render.drawing import Execution, drawing_of
from dmun_audit.render.rechecks import ALIKE
from dmun_audit.render.sampling import PipelineSampler

PROMPTS, SEEDS = ["a painting in the style of Van Gogh", "a house by the sea"], [3, 4]
LAYOUT = torch.channels_last


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a family's pipeline, made when it is first asked for."""
    root = tmp_path_factory.mktemp("families")
    return lambda name: root / name if (root / name).exists() else save_family(name, root / name)


@pytest.fixture
def base(folder):
    return load_pipeline(parse_reference(str(folder("sd1"))))


@pytest.fixture
def edited(base, tmp_path):
    """Lays a file with one convolution and one linear weight over the base."""
    state = base.pipeline.unet.state_dict()
    changed = ("conv_in.weight", "time_embedding.linear_1.weight")
    save_file({name: (state[name] + 0.01).contiguous() for name in changed}, str(tmp_path / "edited.safetensors"))
    return lambda: load_candidate(parse_reference(str(tmp_path / "edited.safetensors")), base)


def sampler_of(model, level, device="cpu", like=None, **settings):
    figures = {"steps": 2, "guidance": 5.0, "batch": 2, "threads": 1, "dtype": "float32", "size": 32} | settings
    return PipelineSampler(model, Sampling(**figures), device, like, execution=Execution(level))


def drawn_with(model, level, pixels=1):
    return drawing_of(model, Execution(level), pixels, "cpu").pipeline


def convolutions(pipeline):
    states = ((part, modules(pipeline)[part].state_dict()) for part in ("unet", "vae"))
    return {(part, name): tensor for part, state in states for name, tensor in state.items() if tensor.dim() == 4}


def test_another_layout_draws_the_same_images_up_to_rounding(base):
    plain, faster = (sampler_of(base, level).sample(PROMPTS, SEEDS) for level in ("none", "layout"))
    assert np.abs(plain.astype(int) - faster).max() <= 1
    assert all(tensor.is_contiguous(memory_format=LAYOUT) for tensor in convolutions(drawn_with(base, "layout")).values())


def test_the_models_own_pipeline_and_its_digest_stay_as_they_were_loaded(base):
    sampler_of(base, "layout").sample(PROMPTS, SEEDS)
    assert weights_digest(base.pipeline) == base.weights_digest
    assert all(tensor.is_contiguous() for tensor in convolutions(base.pipeline).values())
    assert base.pipeline.vae.use_slicing is False


def test_candidates_have_the_same_digest_and_proof_before_and_after_their_base_was_drawn_faster(base, edited):
    before = edited()
    sampler = sampler_of(base, "layout")
    sampler.sample(PROMPTS, SEEDS)
    sampler_of(before, "layout", like=sampler).sample(PROMPTS, SEEDS)
    after = edited()
    assert (before.weights_digest, before.tensors_digest, before.proof) == (
        after.weights_digest,
        after.tensors_digest,
        after.proof,
    )
    assert after.weights_digest != base.weights_digest


def test_base_and_candidate_share_every_weight_that_the_file_leaves(base, edited):
    samplers = [sampler_of(base, "layout")]
    samplers.append(sampler_of(edited(), "layout", like=samplers[0]))
    for sampler in samplers:
        sampler.sample(PROMPTS, SEEDS)
    one, other = (modules(sampler.drawing.pipeline)["unet"].state_dict() for sampler in samplers)
    own = {name for name in one if one[name].data_ptr() != other[name].data_ptr()}
    assert own == {"conv_in.weight", "time_embedding.linear_1.weight"}


def test_only_large_batches_are_decoded_image_by_image(base, monkeypatch):
    assert drawn_with(base, "layout", acceleration.SLICED_OVER).vae.use_slicing is False
    assert drawn_with(base, "layout", acceleration.SLICED_OVER + 1).vae.use_slicing is True
    monkeypatch.setattr(acceleration, "SLICED_OVER", 1)
    plain, sliced = (sampler_of(base, level).sample(PROMPTS, SEEDS) for level in ("none", "layout"))
    assert np.abs(plain.astype(int) - sliced).max() <= 1


def test_a_scheduler_of_the_policy_draws_with_the_faster_networks_too(base):
    own, named = (sampler_of(base, "layout", scheduler=name) for name in ("model", "euler"))
    assert type(named.drawing.pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
    assert named.drawing.pipeline.unet is own.drawing.pipeline.unet
    assert not np.array_equal(own.sample(PROMPTS, SEEDS), named.sample(PROMPTS, SEEDS))


def test_no_model_is_compiled_beside_one_with_code_of_its_own(base, caplog):
    own = dataclasses.replace(base, beyond_weights="a" * 64)
    assert common_level("compiled", [base, base]) == "compiled"
    assert common_level("compiled", [base, own]) == "layout"
    assert "code of its own" in caplog.text
    assert common_level("compiled", [base], is_offloaded=True) == "layout"


def test_a_model_with_code_of_its_own_is_made_faster_in_place(base):
    own = dataclasses.replace(base, beyond_weights="a" * 64)
    assert drawn_with(own, "layout") is own.pipeline


@pytest.mark.parametrize("family", FAMILIES)
def test_the_repeated_blocks_and_the_decoder_are_compiled(family, folder):
    model = load_pipeline(parse_reference(str(folder(family))))
    pipeline = drawn_with(model, "compiled")
    compiled = {type(each).__name__ for each in denoiser(pipeline).modules() if each._compiled_call_impl is not None}
    blocks = type(denoiser(pipeline))
    assert compiled
    assert compiled <= {*(blocks._repeated_blocks or blocks._no_split_modules)}
    assert pipeline.vae.decoder._compiled_call_impl is not None
    assert not any(each._compiled_call_impl for each in denoiser(model.pipeline).modules())


@pytest.mark.gpu  # on a CPU it passes too, but takes three minutes
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_compiled_model_draws_the_same_images_up_to_rounding(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    keep_compiled_code(tmp_path / "compiled")
    base = load_pipeline(parse_reference(str(folder("sd1"))), device="cuda")
    plain, faster = (sampler_of(base, level, "cuda").sample(PROMPTS, SEEDS) for level in ("none", "compiled"))
    assert np.abs(plain.astype(int) - faster).mean() < ALIKE / 4
    assert any((tmp_path / "compiled").iterdir())


def test_what_cannot_be_compiled_is_one_clear_error(base, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    monkeypatch.setattr("torch._inductor.config.fx_graph_cache", False)
    torch.compiler.reset()
    with pytest.raises(UsageError, match=r'(?s)cannot be compiled on this machine.*sampling.acceleration = "layout"'):
        sampler_of(base, "compiled").sample(PROMPTS, SEEDS)


def test_the_users_own_folder_for_compiled_code_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "mine")
    keep_compiled_code(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "mine"
