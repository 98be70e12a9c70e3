"""Offloaded models draw the same images, and leave the weights of base and candidate where they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from families import save_family
from safetensors.torch import save_file

from dmun_audit._util.errors import UsageError
from dmun_audit.engines.choice import check_offload
from dmun_audit.models.fingerprint import memory_place, modules, weights_digest
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference
from dmun_audit.policy import Sampling
from dmun_audit.render import devices
from dmun_audit.render.drawing import Execution, drawing_of
from dmun_audit.render.sampling import PipelineSampler

PROMPTS, SEEDS = ["a painting in the style of Van Gogh", "a house by the sea"], [3, 4]
SAMPLING = Sampling(2, 5.0, 2, 1, "float32", size=32)
EXECUTIONS = [Execution(level, mode) for level in ("none", "layout") for mode in ("model", "sequential")]
GPU = torch.cuda.is_available()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_family("sdxl", tmp_path_factory.mktemp("families") / "sdxl")


@pytest.fixture
def pair(folder, tmp_path):
    """A base, and a candidate that shares all weights but one with it."""
    base = load_pipeline(parse_reference(str(folder)))
    weight = base.pipeline.unet.state_dict()["conv_in.weight"] + 0.01
    save_file({"conv_in.weight": weight}, str(tmp_path / "edited.safetensors"))
    return base, load_candidate(parse_reference(str(tmp_path / "edited.safetensors")), base)


def places(pipeline):
    return [memory_place(tensor) for network in modules(pipeline).values() for tensor in network.state_dict().values()]


@pytest.mark.parametrize("execution", EXECUTIONS if GPU else [each for each in EXECUTIONS if each.offload == "model"], ids=str)
def test_an_offloaded_pair_draws_the_same_images_from_weights_that_stay_where_they_lie(pair, execution):
    """Without a GPU, diffusers' hooks move networks from the CPU to the CPU; they cannot do that with single layers."""
    device = "cuda" if GPU else "cpu"
    base = PipelineSampler(pair[0], SAMPLING, device, execution=execution)
    samplers = base, PipelineSampler(pair[1], SAMPLING, device, like=base, execution=execution)
    before = [places(model.pipeline) for model in pair]
    images = [sampler.sample(PROMPTS, SEEDS) for _ in range(2) for sampler in samplers]
    for model, sampler, first, again in zip(pair, samplers, images[:2], images[2:], strict=True):
        plain = PipelineSampler(model, SAMPLING, "cpu").sample(PROMPTS, SEEDS)
        assert np.abs(plain.astype(int) - first).max() <= (1 if GPU or execution.acceleration == "layout" else 0)
        assert np.array_equal(first, again)
        assert hasattr(sampler.drawing.pipeline.unet, "_hf_hook")
        assert not hasattr(model.pipeline.unet, "_hf_hook")
        assert weights_digest(model.pipeline) == model.weights_digest
    assert [places(model.pipeline) for model in pair] == before
    if execution == Execution(offload="model"):
        assert [places(sampler.drawing.pipeline) for sampler in samplers] == before


def test_weights_are_put_back_although_the_pipeline_failed(pair, monkeypatch):
    sampler, calls = PipelineSampler(pair[0], SAMPLING, "cpu", execution=Execution(offload="model")), []
    sampler.drawing = replace(sampler.drawing, put_back=lambda: calls.append("put back"))
    monkeypatch.setattr(sampler.drawing.pipeline, "prepare_latents", lambda *inputs, **settings: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sampler.sample(PROMPTS, SEEDS)
    assert calls == ["put back"]


def test_layers_that_are_offloaded_share_the_memory_of_the_base_and_the_candidate(pair):
    networks = []
    for model in pair:
        pipeline = drawing_of(model, Execution(offload="sequential"), 1, "cpu").pipeline
        networks.append(pipeline.unet)
        assert all(parameter.is_meta for parameter in pipeline.unet.parameters())
        assert weights_digest(model.pipeline) == model.weights_digest
    one, other = (network.conv_out._hf_hook.weights_map["weight"] for network in networks)
    assert memory_place(one) == memory_place(other) == memory_place(pair[0].pipeline.unet.conv_out.weight)


def test_a_pipeline_that_diffusers_cannot_offload_is_one_clear_error(pair, monkeypatch):
    monkeypatch.setattr(type(pair[0].pipeline), "model_cpu_offload_seq", None)
    sampler = PipelineSampler(pair[0], SAMPLING, "cpu", execution=Execution(offload="model"))
    with pytest.raises(UsageError, match=r"(?s)cannot be offloaded by --offload=model.*take --offload=sequential"):
        sampler.sample(PROMPTS, SEEDS)


def test_an_offloaded_image_has_a_key_of_its_own():
    facts = [execution.facts for execution in (Execution(), Execution("layout"), *EXECUTIONS)]
    assert facts[0] == {}
    assert len({tuple(sorted(each.items())) for each in facts[2:]}) == 4
    assert Execution("layout", "model").facts == {"acceleration": "layout", "offload": "model"}


@pytest.fixture
def gpu(monkeypatch):
    """Stand in for a machine with a GPU."""
    monkeypatch.setattr(devices, "sees_gpu", lambda: True)


@pytest.mark.parametrize("mode", ["model", "sequential"])
def test_both_ways_of_offloading_are_taken_on_a_gpu(mode, gpu):
    assert check_offload(mode, "local", "folder") == mode
    assert check_offload(None, "ray", "hook") is None


@pytest.mark.parametrize(
    ("mode", "engine", "kind", "problem", "remedy"),
    [
        ("disk", "local", "folder", "--offload=disk is no way to offload", "write model or sequential"),
        ("model", "ray", "folder", "--offload=model and --engine=ray are given together", "leave one of them out"),
        ("model", "local", "hook", "--offload=model cannot offload a Python function", "call enable_"),
    ],
)
def test_what_cannot_be_offloaded_is_one_clear_error(mode, engine, kind, problem, remedy, gpu):
    with pytest.raises(UsageError) as caught:
        check_offload(mode, engine, kind)
    assert caught.value.what == problem
    assert remedy in caught.value.remedy


def test_a_machine_without_a_gpu_says_that_there_is_nothing_to_offload_from(monkeypatch):
    monkeypatch.setattr(devices, "sees_gpu", lambda: False)
    with pytest.raises(UsageError, match=r"(?s)--offload=model needs a GPU.*leave --offload out"):
        check_offload("model", "local", "folder")
