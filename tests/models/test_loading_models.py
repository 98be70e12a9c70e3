"""Loading whole pipelines and laying weights over a base, with the proof that each gives."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.hashing import canonical_json
from dmun_audit.models.fingerprint import weights_digest
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.proof import Difference
from dmun_audit.models.references import parse_reference
from dmun_audit.models.source_files import read_source

pytestmark = pytest.mark.slow

UNET = "unet/diffusion_pytorch_model.safetensors"


def _reference(path):
    return parse_reference(str(path))


def _rewrite(path, change):
    """Rewrite a safetensors file with its tensors changed in place or returned anew."""
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file(change(tensors) or tensors, path, metadata={"format": "pt"})


def test_a_folder_is_loaded_whole(base_model):
    pipeline = base_model.pipeline
    networks = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    assert base_model.proof["format"] == "pipeline folder"
    assert base_model.proof["matched"] == sum(len(network.state_dict()) for network in networks)
    assert (base_model.proof["missing"], base_model.proof["unexpected"]) == (0, 0)
    assert not any(network.training for network in networks)
    assert pipeline.safety_checker is None


def test_a_loaded_folder_makes_an_image(base_model):
    generator = [torch.Generator("cpu").manual_seed(3)]
    output = base_model.pipeline("a b", num_inference_steps=2, height=8, width=8, generator=generator, output_type="np")
    assert output.images.shape == (1, 8, 8, 3)


def test_weights_lie_where_every_process_sums_them_alike(base_folder, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    for model in (
        load_pipeline(_reference(base_folder)),
        load_candidate(_reference(tmp_path / "uce.safetensors"), _reference(base_folder)),
    ):
        networks = (model.pipeline.unet, model.pipeline.vae, model.pipeline.text_encoder)
        assert {tensor.data_ptr() % 64 for network in networks for tensor in network.state_dict().values()} == {0}


def test_the_proof_is_plain_json(base_model, base_folder, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    candidate = load_candidate(_reference(tmp_path / "uce.safetensors"), base_model)
    assert json.loads(canonical_json(candidate.proof)) == candidate.proof


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin", ".ckpt"])
def test_a_partial_overlay_is_the_weights_set_by_hand(base_model, edit, tmp_path, suffix):
    path = tmp_path / f"uce{suffix}"
    save_file(edit, path) if suffix == ".safetensors" else torch.save(edit, path)
    candidate = load_candidate(_reference(path), base_model)

    expected = {name: tensor.clone() for name, tensor in base_model.pipeline.unet.state_dict().items()} | edit
    found = candidate.pipeline.unet.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    proof = candidate.proof
    assert proof["format"] == f"partial unet ({'safetensors' if suffix == '.safetensors' else 'state dict'}, diffusers names)"
    assert proof["matched"] == proof["changed_tensors"] == len(edit)
    assert proof["changed_components"] == ["unet"]


def test_relative_norms_are_those_of_the_change(base_model, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    proof = load_candidate(_reference(tmp_path / "uce.safetensors"), base_model).proof

    state = base_model.pipeline.unet.state_dict()
    block = [name for name in state if name.startswith("down_blocks.0.")]
    change = sum((edit[name] - state[name]).double().square().sum() for name in edit if name in block)
    weight = sum(state[name].double().square().sum() for name in block)
    assert proof["blocks"]["down_blocks.0"] == pytest.approx(float((change / weight) ** 0.5), rel=1e-6)
    assert proof["blocks"]["down_blocks.1"] == 0
    everything = sum(float(tensor.double().square().sum()) for tensor in state.values())
    moved = sum(float((edit[name] - state[name]).double().square().sum()) for name in edit)
    assert proof["relative_norm"] == pytest.approx((moved / everything) ** 0.5, rel=1e-6)


def test_norms_of_large_tensors_are_exact():
    before, after = (torch.nn.Linear(3001, 3001, bias=False).weight.data for _ in range(2))
    before.fill_(0.1)
    difference = Difference()
    difference.compare("unet", {"weight": after}, {"weight": before}, "large")
    change = (after.double() - before.double()).square().sum() / before.double().square().sum()
    assert difference.relative_norm() == pytest.approx(float(change**0.5), rel=1e-5)


def test_an_overlay_leaves_the_loaded_base_alone(base_model, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    load_candidate(_reference(tmp_path / "uce.safetensors"), base_model)
    assert weights_digest(base_model.pipeline) == base_model.weights_digest


def test_a_full_unet_is_recognised_as_full(base_model, tmp_path):
    full = {name: tensor * 1.5 for name, tensor in base_model.pipeline.unet.state_dict().items()}
    torch.save(full, tmp_path / "salun.pt")
    proof = load_candidate(_reference(tmp_path / "salun.pt"), base_model).proof
    assert proof["format"] == "full unet (state dict, diffusers names)"
    assert proof["matched"] == len(full)
    assert proof["warnings"] == []


def test_half_precision_weights_are_widened(base_model, edit, tmp_path):
    save_file({name: tensor.bfloat16() for name, tensor in edit.items()}, tmp_path / "esd.safetensors")
    unet = load_candidate(_reference(tmp_path / "esd.safetensors"), base_model).pipeline.unet.state_dict()
    assert all(torch.equal(unet[name], edit[name].bfloat16().float()) for name in edit)


def test_a_candidate_folder_is_compared_with_its_base(base_model, copied):
    _rewrite(copied / "text_encoder/model.safetensors", lambda tensors: [tensor.mul_(2) for tensor in tensors.values()] and None)
    proof = load_candidate(_reference(copied), base_model).proof
    assert proof["changed_components"] == ["text_encoder"]
    assert proof["blocks"]["text_encoder"] == pytest.approx(1)


def test_a_base_given_as_a_reference_gives_the_same(base_model, base_folder, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    one = load_candidate(_reference(tmp_path / "uce.safetensors"), base_model)
    other = load_candidate(_reference(tmp_path / "uce.safetensors"), _reference(base_folder))
    assert (one.weights_digest, one.proof) == (other.weights_digest, other.proof)


def test_weights_can_be_laid_over_weights_kept_in_bfloat16(base_folder, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    unet = load_candidate(_reference(tmp_path / "uce.safetensors"), _reference(base_folder), dtype="bfloat16").pipeline.unet
    assert all(torch.equal(unet.state_dict()[name], tensor.bfloat16()) for name, tensor in edit.items())


# No difference, and a difference everywhere.


def test_a_file_that_changes_nothing_is_refused(base_model, tmp_path):
    same = {name: tensor.clone() for name, tensor in base_model.pipeline.unet.state_dict().items() if "attn2" in name}
    save_file(same, tmp_path / "noop.safetensors")
    with pytest.raises(LoadError, match="does not differ from its base"):
        load_candidate(_reference(tmp_path / "noop.safetensors"), base_model)


def test_a_folder_that_differs_in_nothing_is_a_warning(base_model, copied):
    proof = load_candidate(_reference(copied), base_model).proof
    assert proof["changed_tensors"] == 0
    assert "does not differ from its base" in proof["warnings"][0]


def test_a_small_difference_everywhere_is_a_warning(base_model, tmp_path):
    drifted = {name: tensor * 1.001 + 1e-6 for name, tensor in base_model.pipeline.unet.state_dict().items()}
    save_file(drifted, tmp_path / "ema.safetensors")
    warnings = load_candidate(_reference(tmp_path / "ema.safetensors"), base_model).proof["warnings"]
    assert len(warnings) == 1
    assert "EMA" in warnings[0]


def test_a_longer_vocabulary_is_a_warning_and_a_change(base_model, copied):
    path = copied / "text_encoder/model.safetensors"
    name = next(name for name in load_file(path) if name.endswith("token_embedding.weight"))
    _rewrite(path, lambda tensors: tensors.update({name: torch.cat([tensors[name], torch.ones(1, 16)])}))
    config = json.loads((copied / "text_encoder/config.json").read_text())
    (copied / "text_encoder/config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] + 1}))
    proof = load_candidate(_reference(copied), base_model).proof
    assert proof["changed_components"] == ["text_encoder"]
    assert "text_encoder has 1 more words than the base's" in proof["warnings"]
    assert canonical_json(proof)


def test_an_atelier_file_lies_over_its_own_base_and_may_change_nothing(base_folder, base_model, edit, tmp_path, monkeypatch):
    (tmp_path / "base").symlink_to(base_folder)
    same = {name: base_model.pipeline.unet.state_dict()[name].clone() for name in edit}
    save_file(edit, tmp_path / "uce.safetensors")
    save_file(same, tmp_path / "noop.safetensors")
    models = {name: {"path": f"{name}.safetensors", "target": "Van Gogh", "base": "base"} for name in ("uce", "noop")}
    models["base"] = {"path": "base", "target": None, "base": None}
    (tmp_path / "index.json").write_text(json.dumps({"models": models, "judge": "judge"}))
    monkeypatch.setattr("dmun_audit.models.references.WEIGHTS_FOLDER", tmp_path)
    base, uce, noop = (parse_reference(f"atelier:{name}") for name in ("base", "uce", "noop"))
    cheap_check(uce, base)
    assert load_candidate(uce, base).proof["changed_tensors"] == len(edit)
    assert "does not differ" in load_candidate(noop, base).proof["warnings"][0]
    assert load_pipeline(noop).weights_digest == base_model.weights_digest
    assert load_pipeline(uce).weights_digest == load_candidate(uce, base_model).weights_digest


# What a folder must not hold or lack.


def test_a_missing_tensor_is_refused(copied):
    _rewrite(copied / UNET, lambda tensors: tensors.pop("conv_in.weight") is None)
    with pytest.raises(LoadError, match=r"conv_in\.weight"):
        load_pipeline(_reference(copied))


def test_a_tensor_without_a_place_is_refused(copied):
    _rewrite(copied / UNET, lambda tensors: tensors.update({"conv_typo.weight": torch.ones(2)}))
    with pytest.raises(LoadError, match=r"conv_typo\.weight"):
        load_pipeline(_reference(copied))


@pytest.mark.parametrize("component", ["unet/diffusion_pytorch_model", "text_encoder/model", "vae/diffusion_pytorch_model"])
def test_another_shape_is_refused(copied, component):
    def widen(tensors):
        name = next(name for name in tensors if tensors[name].ndim == 2 or name.endswith("conv_in.weight"))
        tensors[name] = torch.cat([tensors[name], tensors[name]])

    _rewrite(copied / f"{component}.safetensors", widen)
    with pytest.raises(LoadError, match="could not be loaded"):
        load_pipeline(_reference(copied))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused_by_name(copied, number):
    _rewrite(copied / UNET, lambda tensors: tensors["conv_in.bias"].fill_(number) is None)
    with pytest.raises(LoadError, match=r"conv_in\.bias"):
        load_pipeline(_reference(copied))


def test_text_encoder_names_of_older_transformers_are_understood(base_model, copied):
    path = copied / "text_encoder/model.safetensors"
    flat = {name.removeprefix("text_model."): tensor for name, tensor in load_file(path).items()}
    save_file({"text_model." + name: tensor for name, tensor in flat.items()}, path, metadata={"format": "pt"})
    assert load_pipeline(_reference(copied)).weights_digest == base_model.weights_digest


def test_pickled_components_are_loaded_too(base_model, copied):
    torch.save(load_file(copied / UNET), copied / "unet/diffusion_pytorch_model.bin")
    (copied / UNET).unlink()
    assert load_pipeline(_reference(copied)).weights_digest == base_model.weights_digest


def test_another_network_is_refused_as_candidate(base_model, copied):
    config = json.loads((copied / "unet/config.json").read_text())
    config["conv_in_kernel"] = 1
    (copied / "unet/config.json").write_text(json.dumps(config))
    _rewrite(copied / UNET, lambda tensors: tensors.update({"conv_in.weight": torch.ones(8, 4, 1, 1)}))
    with pytest.raises(LoadError, match=r"(?s)not made from this base.*conv_in\.weight.*\[8, 4, 1, 1\].*\[8, 4, 3, 3\]"):
        load_candidate(_reference(copied), base_model)


def test_a_weights_file_alone_is_no_model(tmp_path, edit):
    save_file(edit, tmp_path / "uce.safetensors")
    with pytest.raises(UsageError, match="no complete model"):
        load_pipeline(_reference(tmp_path / "uce.safetensors"))


def test_a_hub_model_that_cannot_be_fetched_is_one_clear_error():
    with pytest.raises(LoadError, match=r"nobody/nothing-of-the-kind@v1 could not be fetched"):
        load_pipeline(parse_reference("nobody/nothing-of-the-kind@v1"))


def test_a_model_that_changed_after_the_plan_is_refused(copied, base_model):
    planned = read_source(_reference(copied))
    assert load_pipeline(_reference(copied), planned=planned).source_digest == planned.digest
    _rewrite(copied / UNET, lambda tensors: tensors["conv_in.bias"].add_(1) is None)
    for load in (
        lambda: load_pipeline(_reference(copied), planned=planned),
        lambda: load_candidate(_reference(copied), base_model, planned=planned),
    ):
        with pytest.raises(LoadError, match="changed after the audit was planned"):
            load()


# The digest of the weights in memory.


def test_the_digest_knows_weights_from_the_way_they_came(base_model, copied):
    (copied / "README.md").write_text("another card")
    again = load_pipeline(_reference(copied))
    assert again.weights_digest == base_model.weights_digest
    assert again.source_digest == base_model.source_digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("scheduler/scheduler_config.json", '"beta_start": 0.0001', '"beta_start": 0.0002'),
        ("unet/config.json", '"attention_head_dim": 4', '"attention_head_dim": 2'),
    ],
)
def test_the_digest_sees_settings(base_model, copied, file, old, new):
    text = (copied / file).read_text()
    assert old in text
    (copied / file).write_text(text.replace(old, new))
    again = load_pipeline(_reference(copied))
    assert again.weights_digest != base_model.weights_digest
    assert again.source_digest != base_model.source_digest


def test_the_digest_sees_one_bit(base_model, copied):
    _rewrite(copied / UNET, lambda tensors: tensors["conv_in.bias"].view(torch.int32).bitwise_xor_(1) is None)
    assert load_pipeline(_reference(copied)).weights_digest != base_model.weights_digest


def test_the_digest_outlives_use(base_model):
    base_model.pipeline("a b", num_inference_steps=1, height=8, width=8, output_type="latent")
    assert weights_digest(base_model.pipeline) == base_model.weights_digest


@pytest.mark.parametrize("beside", [False, True])
def test_a_folder_whose_weights_are_a_variant_is_loaded(base_model, copied, beside):
    """Hub folders often hold `fp16` files only, or beside the plain ones, which then count."""
    plain = copied / UNET
    variant = plain.with_name("diffusion_pytorch_model.fp16.safetensors")
    save_file({name: tensor.half() * 1.5 for name, tensor in load_file(plain).items()}, variant, metadata={"format": "pt"})
    if not beside:
        plain.unlink()
    cheap_check(_reference(copied), _reference(copied))
    proof = load_candidate(_reference(copied), base_model).proof
    assert proof["changed_components"] == ([] if beside else ["unet"])


def test_every_load_is_logged(base_folder, caplog):
    with caplog.at_level(logging.DEBUG, "dmun_audit.models"):
        model = load_pipeline(_reference(base_folder))
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.startswith("hashed ") and str(base_folder) in message for message in messages)
    loaded = next(message for message in messages if message.startswith(f"loaded {base_folder} (pipeline folder) in "))
    assert f"weights {model.weights_digest[:16]}" in loaded
