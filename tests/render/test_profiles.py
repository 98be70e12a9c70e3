"""The profile "fast" and the cache of blocks: what they change, and for which models."""

import dataclasses

import pytest
import torch
from families import FAMILIES, flux, latent_consistency, sd1

from dmun_audit._util.errors import UsageError
from dmun_audit.models.in_memory import in_memory_model
from dmun_audit.models.loading import load_pipeline
from dmun_audit.policy import Sampling
from dmun_audit.render.own_settings import own_sampling
from dmun_audit.render.profiles import in_profile
from dmun_audit.render.sampling import PipelineSampler

POLICY = Sampling(steps=20, guidance="model", batch=2, threads=1, dtype="float32", size=32)
FAST = dataclasses.replace(POLICY, profile="fast")
SOLVERS = {"sd1": "dpmsolver++", "sd2": "dpmsolver++", "sdxl": "dpmsolver++", "pixart": "dpmsolver++"} | dict.fromkeys(
    ("sd3", "flux", "auraflow"), "flow-euler"
)


@pytest.mark.parametrize("family", FAMILIES)
def test_fast_takes_half_of_the_steps_and_the_solver_of_the_family(family):
    fast = in_profile(FAMILIES[family](), FAST)
    assert (fast.steps, fast.scheduler) == (10, SOLVERS[family])


@pytest.mark.parametrize(("steps", "left"), [(50, 25), (9, 5), (6, 4), (4, 4), (1, 1), ("model", 25)])
def test_fast_leaves_the_few_steps_of_distilled_models(steps, left):
    assert in_profile(sd1(), dataclasses.replace(FAST, steps=steps)).steps == left


def test_the_scheduler_of_a_distilled_model_stays():
    assert in_profile(latent_consistency(), FAST).scheduler == "model"


def test_the_steps_of_the_base_decide_for_its_candidate():
    few, many = dataclasses.replace(FAST, steps="model"), sd1()
    assert in_profile(latent_consistency(), few).steps == 4
    assert in_profile(latent_consistency(), few, many).steps == 25


@pytest.fixture(scope="module")
def loaded():
    torch.manual_seed(0)
    return load_pipeline(in_memory_model(sd1()))


def test_both_sides_share_the_profile_and_own_settings_keep_their_own(loaded):
    base = PipelineSampler(loaded, FAST, "cpu")
    candidate = PipelineSampler(loaded, FAST, "cpu", like=base)
    assert base.settings == candidate.settings
    assert (base.settings["scheduler"], base.settings["steps"]) == ("DPMSolverMultistepScheduler", 10)
    own = PipelineSampler(loaded, own_sampling(loaded, FAST), "cpu", like=base, only_size=True)
    assert (own.settings["scheduler"], own.settings["steps"]) == ("PNDMScheduler", 50)


def test_the_cache_leaves_blocks_out_and_starts_empty_with_each_batch():
    pipeline, computed = flux(), []
    for part in (pipeline.transformer.x_embedder, pipeline.transformer.time_text_embed.timestep_embedder.linear_2):
        for parameter in part.parameters():
            parameter.data.zero_()  # the first block then gives the same in each step
    model = load_pipeline(in_memory_model(pipeline))
    last = model.pipeline.transformer.single_transformer_blocks[-1]
    last.norm.register_forward_hook(lambda *arguments: computed.append(1))
    plain, cached = (PipelineSampler(model, dataclasses.replace(POLICY, cache=kind), "cpu") for kind in ("none", "first-block"))
    counts = []
    for sampler in (plain, cached, cached, plain):
        computed.clear()
        sampler.sample(["a house"] * 2, [1, 2])
        counts.append(len(computed))
    assert counts == [20, 1, 1, 20]
    assert cached.settings == plain.settings | {"cache": "first-block"}


@pytest.mark.parametrize("family", ["sd1", "sd3"])
def test_a_pipeline_without_the_cache_is_refused(family):
    model = load_pipeline(in_memory_model(FAMILIES[family]()))
    with pytest.raises(UsageError, match=r"sampling.cache = 'first-block' does not suit this model"):
        PipelineSampler(model, dataclasses.replace(POLICY, cache="first-block"), "cpu")
