"""Relearning and benign tuning: an adapter is trained on a private copy, the same way each time, from the right images."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from atelier_benches import NAME, attack, bench_over, drawn, two_models

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.claim_groups.probe_planning import attack_of, units_of
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.models.fingerprint import digests
from dmun_audit.models.in_memory import copy_to_draw_with
from dmun_audit.policy import load_policy
from dmun_audit.policy.sections import Probes
from dmun_audit.probes.benign_tuning import PROBE as BENIGN
from dmun_audit.probes.parts import low_rank, search, tuned
from dmun_audit.probes.relearning import PROBE as RELEARNING

pytestmark = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")


@pytest.fixture(scope="module")
def models():
    return two_models()


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setitem(tuned.STEPS, "small", (2, 4))
    monkeypatch.setattr(tuned, "IMAGES", 4)


@pytest.fixture
def bench(models, tmp_path, few_steps):
    return bench_over(tmp_path, models)


def recipes(probe):
    return [probe.recipe(attack(), dose, []) for dose in probe.doses("small")]


@pytest.mark.parametrize("probe", [RELEARNING, BENIGN])
def test_the_loaded_model_stays_as_it_was_and_more_steps_change_more(bench, probe):
    before, plain = digests(bench.model("candidate").pipeline), drawn(bench, None)
    changes = [np.abs(np.subtract(drawn(bench, recipe), plain, dtype=float)).mean() for recipe in recipes(probe)]
    assert digests(bench.model("candidate").pipeline) == before
    assert not getattr(bench.model("candidate").pipeline.unet, "peft_config", None)
    assert 0 < changes[0] < changes[1]
    assert bench.spent.gradient_steps == 4  # one find has the adapters of all doses


def test_the_same_seed_gives_the_same_adapter_and_a_stopped_training_goes_on(models, tmp_path, few_steps, monkeypatch):
    monkeypatch.setattr(search, "CHECKPOINT_EVERY", 2)
    whole = RELEARNING.find(bench_over(tmp_path / "whole", models), "candidate", recipes(RELEARNING)[-1])
    torch.rand(3)  # numbers that others draw change nothing
    stopped = bench_over(tmp_path / "stopped", models)
    steps = []

    def stop_after_three(count=1):
        steps.append(count)
        if len(steps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(stopped, "stepped", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        RELEARNING.find(stopped, "candidate", recipes(RELEARNING)[-1])
    again = RELEARNING.find(stopped, "candidate", recipes(RELEARNING)[-1])
    assert len(steps) == 3 + 2  # from the checkpoint after two steps
    assert again.key == whole.key
    assert again.facts["losses"] == whole.facts["losses"]
    assert again.tensors.keys() == whole.tensors.keys()
    assert all(torch.equal(tensor, whole.tensors[name]) for name, tensor in again.tensors.items())


def test_the_loss_falls_on_a_fixed_batch(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(low_rank, "seed_of", lambda *parts: 3)  # the same images, noise and times in every step
    lesson = low_rank.Lesson(bench.base_images(attack().examples), [each.prompt for each in attack().examples])
    tuning = low_rank.Tuning((8,), rate=3e-3, images=4, batch=4)
    _, losses = low_rank.train(bench, "candidate", lesson, tuning, "test", tmp_path / "checkpoint")
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.99 * losses[0]


def test_a_new_adapter_changes_no_image(bench):
    plain = drawn(bench, None)
    pipeline = copy_to_draw_with(bench.model("base"))
    start = {f"{name}@0": tensor.detach() for name, tensor in low_rank.add_adapter(pipeline, 4, "test").items()}
    prompts, seeds = ["a cat", "a boat"], [1, 2]
    ours = low_rank.sampler_with(bench, "base", start, 0).sample(prompts, seeds)
    assert np.array_equal(ours, bench.plain_sampler("base").sample(prompts, seeds))
    assert np.array_equal(drawn(bench, None), plain)


def test_an_adapter_of_another_network_is_refused(bench):
    with pytest.raises(ValueError, match="belongs to another network"):
        low_rank.sampler_with(bench, "base", {"down.0.lora_A.weight@1": torch.zeros(4, 8)}, 1)


def plan_with(*names):
    from dataclasses import replace

    policy = replace(load_policy("standard"), probes=Probes(run=names, units=8), images_at_most=20_000)
    return make_plan(find_pack(NAME, "atelier"), policy, 0)


def test_relearning_sees_base_images_of_the_target_that_are_no_units():
    plan = plan_with("relearning")
    examples = attack_of(RELEARNING, plan).examples
    assert len(examples) == tuned.IMAGES
    assert {each.side for each in examples} == {"base"}
    assert not set(examples) & set(units_of(plan))


def test_benign_tuning_never_sees_an_image_of_the_target():
    plan = plan_with("benign-tuning")
    recipe = BENIGN.recipe(attack_of(BENIGN, plan), BENIGN.doses("small")[0], units_of(plan))
    target = plan.dossier.target
    prompts = [each.prompt.casefold() for each in recipe.examples]
    assert len(prompts) == tuned.IMAGES
    assert not any(name.casefold() in prompt for name in (target.name, *target.aliases) for prompt in prompts)
    assert not {*target.direct_prompts} & {each.prompt for each in recipe.examples}


def test_the_control_of_benign_tuning_is_the_candidate_without_it(bench):
    assert BENIGN.placebo(attack(), BENIGN.doses("small")[0], []) is None
    assert RELEARNING.teaches
