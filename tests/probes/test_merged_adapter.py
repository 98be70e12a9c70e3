"""A merged adapter: the file that the user names is merged at its strength into a private copy, or refused before anything is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from atelier_benches import attack, bench_over, drawn, two_models
from safetensors.torch import save_file

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.models.fingerprint import digests
from dmun_audit.models.in_memory import copy_to_draw_with
from dmun_audit.probes.merged_adapter import PROBE
from dmun_audit.probes.parts.bench import recipe_facts
from dmun_audit.probes.parts.user_adapter import UserAdapter

WEIGHT = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"


@pytest.fixture(scope="module")
def models():
    return two_models()


def lora_file(path, unet, seed=0, layer=WEIGHT):
    """A LoRA of rank 2 on one layer. Returns its path and the change that it makes at full strength."""
    shape = unet.get_submodule(WEIGHT).weight.shape
    numbers = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(size, generator=numbers) for size in ((2, shape[1]), (shape[0], 2)))
    save_file({f"unet.{layer}.lora_A.weight": down, f"unet.{layer}.lora_B.weight": up}, path)
    return path, up @ down


@pytest.fixture
def lora(models, tmp_path):
    return lora_file(tmp_path / "style.safetensors", models[1].pipeline.unet)


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_it_is_merged_at_its_strength_and_the_loaded_model_stays(models, lora, strength):
    path, change = lora
    pipeline, before = models[1].pipeline, digests(models[1].pipeline)
    merged = UserAdapter(path, "").merge(copy_to_draw_with(models[1]), strength)
    old, new = (each.unet.get_submodule(WEIGHT).weight for each in (pipeline, merged))
    assert torch.allclose(new - old, strength * change, atol=1e-5)
    assert digests(pipeline) == before


def test_it_changes_the_images_and_without_it_the_candidate_draws_its_own(models, lora, tmp_path):
    bench = bench_over(tmp_path / "store", models, adapter=UserAdapter(lora[0], "one"))
    plain = drawn(bench, None)
    recipes = [PROBE.recipe(attack(), dose, []) for dose in PROBE.doses("small")]
    assert not any(np.array_equal(drawn(bench, recipe), plain) for recipe in recipes)
    assert PROBE.placebo(attack(), PROBE.doses("small")[0], []) is None
    assert bench.refusal(PROBE) == ""
    other = bench_over(tmp_path / "store", models, adapter=UserAdapter(lora[0], "other"))
    assert recipe_facts(bench, recipes[0]) != recipe_facts(other, recipes[0])


def test_without_an_adapter_it_is_not_tried(models, tmp_path):
    assert "--probe-adapter" in bench_over(tmp_path, models).refusal(PROBE)


def test_a_file_that_fits_nothing_is_refused(models, tmp_path):
    path, _ = lora_file(tmp_path / "other.safetensors", models[1].pipeline.unet, layer="transformer_blocks.7.attn.to_q")
    with pytest.raises(LoadError, match=r"--probe-adapter=.*other.safetensors does not fit the candidate"):
        UserAdapter(path, "").require_fit(models[1].pipeline)


def policy_file(tmp_path, probe="merged-adapter"):
    path = tmp_path / "policy.toml"
    path.write_text(f'name = "test"\nextends = "smoke"\nimages_at_most = 2000\n[probes]\nrun = ["{probe}"]\nunits = 8\n')
    return str(path)


def resolved(tmp_path, **options):
    return resolve(Options(store=str(tmp_path / "store"), audit_dir=str(tmp_path / "run"), **options))


def test_its_digest_is_part_of_the_audit(models, lora, tmp_path):
    policy = policy_file(tmp_path)
    hashes = [resolved(tmp_path, policy=policy, probe_adapter=str(lora[0])).audit_hash]
    lora_file(lora[0], models[1].pipeline.unet, seed=1)
    hashes += [resolved(tmp_path, policy=policy, probe_adapter=str(lora[0])).audit_hash]
    hashes += [resolved(tmp_path, policy=policy).audit_hash]
    assert len(set(hashes)) == 3


def test_what_cannot_be_merged_is_refused_before_anything_is_loaded(models, lora, tmp_path):
    with pytest.raises(UsageError, match="runs no probe that merges it"):
        resolved(tmp_path, policy=policy_file(tmp_path, "completion"), probe_adapter=str(lora[0]))
    whole = tmp_path / "unet.safetensors"
    save_file({"conv_in.weight": torch.ones(2)}, whole)
    with pytest.raises(LoadError, match="is no LoRA"):
        resolved(tmp_path, policy=policy_file(tmp_path), probe_adapter=str(whole))
    with pytest.raises(UsageError, match="there is no model at"):
        resolved(tmp_path, policy=policy_file(tmp_path), probe_adapter=str(tmp_path / "none.safetensors"))
