"""Every published format of edited weights: written here, loaded, and the same images as the weights it was made from."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
import writers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from dmun_audit.errors import LoadError  # noqa: E402
from dmun_audit.models.headers import cheap_check  # noqa: E402
from dmun_audit.models.loading import load_candidate  # noqa: E402
from dmun_audit.references import parse_reference  # noqa: E402

PROMPTS = ["a b", "c d a", "d"]


def draw(pipeline, prompts=PROMPTS, attune=None):
    """Three images in one batch, two steps with guidance."""
    if attune is not None:
        attune(prompts)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in range(len(prompts))]
    with torch.inference_mode():
        output = pipeline(
            prompts, num_inference_steps=2, guidance_scale=5.0, height=8, width=8, generator=generators, output_type="np"
        )
    return output.images


@pytest.fixture
def truth(base_model):
    """A pipeline of the base's weights to edit by hand."""
    pipeline = copy.deepcopy(base_model.pipeline)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def loads_as(base_model, base_folder):
    """Load a file over the base and require the images of `pipeline`, bit for bit, and not those of the base."""

    def check(path, pipeline, prompts=PROMPTS):
        reference = parse_reference(str(path))
        cheap_check(reference, parse_reference(str(base_folder)))
        candidate = load_candidate(reference, base_model)
        images = draw(candidate.pipeline, prompts, candidate.attune)
        assert np.array_equal(images, draw(pipeline, prompts))
        assert not np.array_equal(images, draw(base_model.pipeline, prompts))
        return candidate

    return check


def edit_network(network, part=""):
    """New numbers for the tensors whose names hold `part`; returns them."""
    generator = torch.Generator().manual_seed(5)
    state = network.state_dict()
    chosen = {name: tensor for name, tensor in state.items() if part in name}
    for tensor in chosen.values():
        tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.2)
    return {name: tensor.clone() for name, tensor in chosen.items()}


# State dicts of a UNet.

WRITTEN = {
    "diffusers": lambda state: state,
    "diffusers, prefixed": lambda state: {f"unet.{name}": tensor for name, tensor in state.items()},
    "diffusers in a dictionary (Concept Ablation)": lambda state: {"unet": state},
    "diffusers by module (ESD's demonstration)": lambda state: {
        f"unet.{module}": {name.rpartition(".")[2]: tensor for name, tensor in state.items() if name.rpartition(".")[0] == module}
        for module in {name.rpartition(".")[0] for name in state}
    },
    "diffusers, wrapped": lambda state: {"state_dict": state, "epoch": 3},
    "CompVis": lambda state: writers.compvis_unet(state),
    "CompVis, bare": lambda state: writers.compvis_unet(state, prefix=""),
    "CompVis, wrapped": lambda state: {"state_dict": writers.compvis_unet(state), "global_step": 5, "optimizer_states": [{}]},
    "CompVis with EMA and schedule": lambda state: (
        writers.compvis_unet(state)
        | {f"model_ema.{name.replace('.', '')}": torch.zeros_like(tensor) for name, tensor in state.items()}
        | {"betas": torch.zeros(4), "alphas_cumprod": torch.zeros(4), "model_ema.decay": torch.tensor(0.9)}
    ),
}


@pytest.mark.parametrize("extent", ["partial", "full"])
@pytest.mark.parametrize("written", WRITTEN)
def test_the_state_dict_of_a_unet(truth, loads_as, tmp_path, written, extent):
    state = edit_network(truth.unet, "attn2.to_" if extent == "partial" else "")
    torch.save(WRITTEN[written](state), tmp_path / "edited.pt")
    proof = loads_as(tmp_path / "edited.pt", truth).proof
    total = len(truth.unet.state_dict())
    assert proof["components"]["unet"]["matched"] == proof["components"]["unet"]["changed"] == len(state)
    assert proof["components"]["unet"]["missing"] == total - len(state)
    assert proof["format"].startswith(f"{extent} unet")
    assert ("CompVis" in proof["format"]) is written.startswith("CompVis")
    assert any("EMA" in note for note in proof["notes"]) is ("EMA" in written)


@pytest.mark.parametrize("older", [False, True])
def test_safetensors_of_either_naming(truth, loads_as, tmp_path, older):
    state = edit_network(truth.unet, "attn2.to_k")
    save_file(writers.compvis_unet(state) if older else state, tmp_path / "esd")
    loads_as(tmp_path / "esd", truth)


def test_a_unet_folder(truth, loads_as, tmp_path):
    edit_network(truth.unet)
    truth.unet.save_pretrained(tmp_path / "rece")
    assert "full unet" in loads_as(tmp_path / "rece", truth).proof["format"]


def test_the_shards_of_a_unet_folder(truth, loads_as, tmp_path):
    edit_network(truth.unet)
    truth.unet.save_pretrained(tmp_path / "rece", max_shard_size="30KB")
    assert len(list((tmp_path / "rece").glob("*.safetensors"))) > 1
    loads_as(tmp_path / "rece", truth)


# Text encoders.

ADV_UNLEARN = {
    "flat": lambda state: state,
    "with transformers' older prefix": lambda state: {f"text_model.{name}": tensor for name, tensor in state.items()},
    "prefixed": lambda state: {f"text_encoder.{name}": tensor for name, tensor in state.items()},
    "wrapper that holds its parts twice": lambda state: (
        {f"text_encoder.text_model.{name}": tensor for name, tensor in state.items()}
        | {name.replace("embeddings.", "embedding."): tensor for name, tensor in state.items()}
        | {"text_encoder.text_model.embeddings.position_ids": torch.arange(8)[None]}
    ),
    "in a dictionary": lambda state: {"text_encoder": state},
}


@pytest.mark.parametrize("written", ADV_UNLEARN)
def test_a_text_encoder_alone(truth, loads_as, tmp_path, written):
    state = edit_network(truth.text_encoder)
    torch.save(ADV_UNLEARN[written](state), tmp_path / "TextEncoder.pt")
    proof = loads_as(tmp_path / "TextEncoder.pt", truth).proof
    assert proof["changed_components"] == ["text_encoder"]
    assert proof["components"]["text_encoder"]["missing"] == 0


def test_a_text_encoder_folder(truth, loads_as, tmp_path):
    edit_network(truth.text_encoder)
    truth.text_encoder.save_pretrained(tmp_path / "vangogh_unlearned")
    loads_as(tmp_path / "vangogh_unlearned", truth)


def test_twins_that_differ_are_refused(base_model, truth, tmp_path):
    state = edit_network(truth.text_encoder)
    torch.save({**state, **{f"text_encoder.{name}": tensor + 1 for name, tensor in state.items()}}, tmp_path / "odd.pt")
    with pytest.raises(LoadError, match="for the same place and differ"):
        load_candidate(parse_reference(str(tmp_path / "odd.pt")), base_model)


def test_a_delta_of_unet_and_text_encoder(truth, loads_as, tmp_path):
    unet, text = edit_network(truth.unet, "attn2.to_v"), edit_network(truth.text_encoder)
    torch.save({"unet": unet, "text_encoder": text}, tmp_path / "delta.bin")
    assert loads_as(tmp_path / "delta.bin", truth).proof["changed_components"] == ["text_encoder", "unet"]


def test_a_compvis_delta_with_embeddings_of_new_words_says_that_no_prompt_reaches_them(truth, loads_as, tmp_path):
    state = writers.compvis_unet(edit_network(truth.unet, "attn2.to_k"))
    torch.save({"state_dict": {**state, "embed": torch.ones(1, 16)}}, tmp_path / "delta_epoch=9.ckpt")
    notes = loads_as(tmp_path / "delta_epoch=9.ckpt", truth).proof["notes"]
    assert any("'state_dict.embed'" in note and "no prompt can use them" in note for note in notes)


# Single files.


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_single_file_of_everything(truth, loads_as, tmp_path, wrapped):
    parts = [
        writers.compvis_unet(edit_network(truth.unet)),
        writers.compvis_vae(edit_network(truth.vae)),
        writers.compvis_text(edit_network(truth.text_encoder)),
        {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(8)[None]},
    ]
    whole = {name: tensor for part in parts for name, tensor in part.items()}
    torch.save({"state_dict": whole, "epoch": 1} if wrapped else whole, tmp_path / "model.ckpt")
    proof = loads_as(tmp_path / "model.ckpt", truth).proof
    assert proof["missing"] == 0
    assert proof["matched"] == len(whole) - 1
    assert sorted(proof["components"]) == ["text_encoder", "unet", "vae"]


def test_the_writer_of_compvis_names_writes_what_diffusers_reads(truth):
    """The library's own converter for complete files, as a second reader of what is written here."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    unet, vae = edit_network(truth.unet), edit_network(truth.vae)
    theirs = convert_ldm_unet_checkpoint(writers.compvis_unet(unet), dict(truth.unet.config))
    assert theirs.keys() == unet.keys()
    assert all(torch.equal(theirs[name], unet[name]) for name in unet)
    theirs = convert_ldm_vae_checkpoint(writers.compvis_vae(vae), dict(truth.vae.config))
    assert theirs.keys() == vae.keys()
    assert all(torch.equal(theirs[name].reshape(vae[name].shape), vae[name]) for name in vae)


def test_a_text_encoder_of_open_clip(truth, loads_as, tmp_path):
    state = edit_network(truth.text_encoder)
    written = writers.open_clip_text(state)
    beyond = {name.replace("resblocks.0.", "resblocks.1."): tensor for name, tensor in written.items() if "resblocks" in name}
    extra = {"cond_stage_model.model.text_projection": torch.ones(16, 16), "cond_stage_model.model.logit_scale": torch.ones(())}
    torch.save(written | beyond | extra, tmp_path / "v2.ckpt")
    proof = loads_as(tmp_path / "v2.ckpt", truth).proof
    assert proof["missing"] == 0
    assert any("layers that the base's text_encoder does not use" in note for note in proof["notes"])


# LoRA and DoRA.


def _targets(unet):
    return {
        name.removesuffix(".weight"): tensor
        for name, tensor in unet.state_dict().items()
        if name.endswith(("attn2.to_k.weight", "attn2.to_out.0.weight", "ff.net.2.weight", "proj_in.weight", "conv1.weight"))
    }


@pytest.mark.parametrize("alpha", [1.0, 2.0, 4.0])
def test_a_lora_in_kohyas_names_is_the_published_formula(truth, loads_as, tmp_path, alpha):
    targets = _targets(truth.unet)
    tensors = writers.kohya(targets, rank=2, alpha=alpha)
    text = {"encoder.layers.0.self_attn.q_proj": truth.text_encoder.state_dict()["encoder.layers.0.self_attn.q_proj.weight"]}
    tensors |= writers.kohya({f"text_model.{name}": tensor for name, tensor in text.items()}, alpha=alpha, prefix="lora_te_")
    save_file(tensors, tmp_path / "lora.safetensors")
    for name, weight in targets.items():
        stem = "lora_unet_" + name.replace(".", "_")
        down, up = tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"]
        weight += ((up.flatten(1) @ down.flatten(1)) * (alpha / 2)).reshape(weight.shape)
    for name, weight in text.items():
        stem = "lora_te_text_model_" + name.replace(".", "_")
        weight += (tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"]) * (alpha / 2)
    proof = loads_as(tmp_path / "lora.safetensors", truth).proof
    assert proof["format"] == "LoRA (kohya names)"
    assert proof["matched"] == len(tensors)
    assert proof["components"]["unet"]["changed"] == len(targets)


def test_kohyas_names_after_the_blocks_of_compvis(truth, loads_as, tmp_path):
    """What the trainer calls the modules of SDXL."""
    targets = {name: tensor for name, tensor in _targets(truth.unet).items() if "attn2" in name}
    older = {
        name.removesuffix(".weight"): tensor
        for name, tensor in writers.compvis_unet({f"{name}.weight": tensor for name, tensor in targets.items()}, "").items()
    }
    tensors = writers.kohya(older)
    save_file(tensors, tmp_path / "lora.safetensors")
    for weight, other in zip(targets.values(), older, strict=True):
        stem = "lora_unet_" + other.replace(".", "_")
        weight += tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"] * 0.5
    loads_as(tmp_path / "lora.safetensors", truth)


def _peft(truth, tmp_path, **settings):
    """Have peft itself make an adapter, write it through diffusers, and merge it."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(7)
    wanted = ["attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.2"]
    truth.unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=wanted, **settings))
    if settings.get("use_dora"):
        for name, parameter in truth.unet.named_parameters():
            if "magnitude" in name:
                parameter.data.mul_(1.1)
    return StableDiffusionPipeline, get_peft_model_state_dict(truth.unet)


@pytest.mark.parametrize(
    "settings", [{"lora_alpha": 2}, {"lora_alpha": 5}, {"lora_alpha": 4, "use_dora": True}, {"lora_alpha": 3, "use_rslora": True}]
)
@pytest.mark.parametrize("names", ["diffusers", "peft"])
def test_an_adapter_made_by_peft(truth, loads_as, tmp_path, settings, names):
    kind, state = _peft(truth, tmp_path, **settings)
    state = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    folder = tmp_path / "adapter"
    if names == "peft":
        folder.mkdir()
        save_file({f"base_model.model.{name}": tensor for name, tensor in state.items()}, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({"r": 2, **settings}))
    else:
        config = {"r": 2, **settings}
        kind.save_lora_weights(folder, unet_lora_layers=state, unet_lora_adapter_metadata=config)
    truth.unet.fuse_lora()
    truth.unet.unload_lora()
    proof = loads_as(folder, truth).proof
    assert proof["format"] == f"{'DoRA' if 'use_dora' in settings else 'LoRA'} ({names} names)"
    assert proof["matched"] == len(state)


def test_the_oldest_names_of_diffusers(truth, loads_as, tmp_path):
    name = "mid_block.attentions.0.transformer_blocks.0.attn2"
    state = truth.unet.state_dict()
    down, up = torch.randn(2, 16) * 0.2, torch.randn(16, 2) * 0.2
    tensors = {f"unet.{name}.processor.to_out_lora.down.weight": down, f"unet.{name}.processor.to_out_lora.up.weight": up}
    tensors |= {f"unet.{name}.processor.to_q_lora.down.weight": down * 2, f"unet.{name}.processor.to_q_lora.up.weight": up}
    text = "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora"
    tensors |= {f"{text}.down.weight": down * 3, f"{text}.up.weight": up}
    torch.save(tensors, tmp_path / "pytorch_lora_weights.bin")
    state[f"{name}.to_out.0.weight"] += up @ down
    state[f"{name}.to_q.weight"] += up @ (down * 2)
    truth.text_encoder.state_dict()["encoder.layers.0.self_attn.q_proj.weight"].add_(up @ (down * 3))
    notes = loads_as(tmp_path / "pytorch_lora_weights.bin", truth).proof["notes"]
    assert any("3 of 3 low-rank pairs state no alpha" in note for note in notes)


@pytest.mark.parametrize("by", ["output", "input"])
def test_lycoris_dora_by_either_axis(truth, loads_as, tmp_path, by):
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"
    weight = truth.unet.state_dict()[f"{name}.weight"]
    tensors = writers.kohya({name: weight}, alpha=1.0)
    stem = "lora_unet_" + name.replace(".", "_")
    axis = 1 if by == "output" else 0
    magnitude = weight.norm(dim=axis, keepdim=True) * 1.3
    tensors[f"{stem}.dora_scale"] = magnitude.clone()
    changed = weight + tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"] * 0.5
    weight.copy_(magnitude / torch.linalg.vector_norm(changed, dim=axis, keepdim=True) * changed)
    save_file(tensors, tmp_path / "dora.safetensors")
    assert loads_as(tmp_path / "dora.safetensors", truth).proof["format"] == "DoRA (kohya names)"


def test_locon_with_a_core(truth, loads_as, tmp_path):
    name = "mid_block.resnets.0.conv1"
    weight = truth.unet.state_dict()[f"{name}.weight"]
    generator = torch.Generator().manual_seed(1)
    stem = "lora_unet_" + name.replace(".", "_")
    down = torch.randn(2, weight.shape[1], 1, 1, generator=generator)
    core = torch.randn(2, 2, 3, 3, generator=generator)
    up = torch.randn(weight.shape[0], 2, 1, 1, generator=generator)
    save_file(
        {
            f"{stem}.lora_down.weight": down,
            f"{stem}.lora_mid.weight": core,
            f"{stem}.lora_up.weight": up,
            f"{stem}.alpha": torch.tensor(2.0),
        },
        tmp_path / "locon.safetensors",
    )
    weight += torch.einsum("or,rskl,si->oikl", up.flatten(1), core, down.flatten(1))
    loads_as(tmp_path / "locon.safetensors", truth)


@pytest.mark.parametrize("lost", ["lora_down.weight", "lora_up.weight"])
def test_half_a_pair_is_refused(base_model, truth, tmp_path, lost):
    tensors = writers.kohya(_targets(truth.unet))
    first = next(name for name in tensors if name.endswith(lost))
    del tensors[first]
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(LoadError, match="has no partner"):
        load_candidate(parse_reference(str(tmp_path / "half.safetensors")), base_model)


def test_a_lora_for_modules_that_the_base_lacks_is_refused_whole(base_model, truth, tmp_path):
    tensors = writers.kohya(_targets(truth.unet) | {"down_blocks.7.attentions.0.proj_in": torch.ones(4, 4)})
    save_file(tensors, tmp_path / "more.safetensors")
    with pytest.raises(LoadError, match=r"'lora_unet_down_blocks_7_attentions_0_proj_in\."):
        load_candidate(parse_reference(str(tmp_path / "more.safetensors")), base_model)


def test_other_adapters_are_refused_by_name(base_model, tmp_path):
    save_file({"lora_unet_conv_in.hada_w1_a": torch.ones(2, 2)}, tmp_path / "loha.safetensors")
    with pytest.raises(LoadError, match=r"hada_w1_a.*LoHa"):
        load_candidate(parse_reference(str(tmp_path / "loha.safetensors")), base_model)


# SPM.


def _by_hand(pipeline, targets, tensors, prompts, scale):
    """The published forward pass, module by module: y = Wx + b + up(m · down(x)) · m · alpha / rank, m of each prompt."""
    strengths = torch.tensor([_strength(pipeline, prompt) for prompt in prompts])

    def patched(module, down, up):
        plain = module.forward

        def forward(x):
            m = strengths.repeat(len(x) // len(prompts)).view(-1, *[1] * (x.dim() - 1))
            if down.dim() == 4:
                return plain(x) + F.conv2d(F.conv2d(x, down, padding=module.padding) * m, up) * m * scale
            return plain(x) + F.linear(F.linear(x, down) * m, up) * m * scale

        return forward

    for name in targets:
        module, stem = pipeline.unet.get_submodule(name), "lora_unet_" + name.replace(".", "_")
        module.forward = patched(module, tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"])


ERASED = ["a b", "c"]


def _strength(pipeline, prompt):
    """Facilitated transport: the larger of cosine and share of common tokens, the largest over the erased prompts."""

    def read(text):
        ids = pipeline.tokenizer(text, padding="max_length", max_length=8, truncation=True, return_tensors="pt").input_ids
        special = {pipeline.tokenizer.bos_token_id, pipeline.tokenizer.eos_token_id, pipeline.tokenizer.pad_token_id}
        return pipeline.text_encoder(ids).last_hidden_state.flatten(), set(ids[0].tolist()) - special

    with torch.inference_mode():
        ours, tokens = read(prompt)
        scores = []
        for erased in ERASED:
            theirs, wanted = read(erased)
            scores += [float(F.cosine_similarity(ours, theirs, dim=0)), len(tokens & wanted) / len(wanted)]
    return max(scores)


def _spm(truth, tmp_path):
    targets = {name: tensor for name, tensor in _targets(truth.unet).items() if "resnets" not in name}
    tensors = writers.kohya(targets, rank=1, alpha=7.0)
    writers.save_spm(tmp_path / "spm.safetensors", tensors, ERASED, 1, 0.8)
    return targets, tensors


def test_an_spm_is_the_published_formula_with_its_strength_by_prompt(truth, loads_as, tmp_path):
    targets, tensors = _spm(truth, tmp_path)
    _by_hand(truth, targets, tensors, PROMPTS, scale=0.8)
    candidate = loads_as(tmp_path / "spm.safetensors", truth)
    assert any("facilitated transport" in note for note in candidate.proof["notes"])
    assert candidate.proof["components"]["unet"]["changed"] == len(targets)


def test_the_strength_of_an_spm_follows_the_prompt(truth, base_model, tmp_path):
    _spm(truth, tmp_path)
    strength = load_candidate(parse_reference(str(tmp_path / "spm.safetensors")), base_model).attune.__self__.strength
    assert strength("a b") == pytest.approx(1)
    assert strength("c d") == 1  # it has the whole of the second concept
    for prompt in ("d", "a d", "b b"):
        assert strength(prompt) == pytest.approx(_strength(base_model.pipeline, prompt), abs=1e-6)
    assert strength("d") < 1


def test_an_spm_loaded_as_a_plain_lora_is_another_model(truth, base_model, tmp_path):
    _, tensors = _spm(truth, tmp_path)
    save_file(tensors, tmp_path / "plain.safetensors")
    spm, plain = (
        load_candidate(parse_reference(str(tmp_path / name)), base_model) for name in ("spm.safetensors", "plain.safetensors")
    )
    assert spm.proof["format"].startswith("SPM")
    assert plain.proof["format"].startswith("LoRA")
    assert not np.array_equal(draw(spm.pipeline, attune=spm.attune), draw(plain.pipeline))
    assert spm.weights_digest not in {plain.weights_digest, base_model.weights_digest}


# Receler.


def test_receler_is_its_erasers_behind_the_cross_attentions(truth, loads_as, tmp_path):
    erasers = writers.save_receler(tmp_path / "receler", truth.unet)

    def patched(attention, eraser):
        plain = attention.forward

        def forward(*inputs, **settings):
            seen = plain(*inputs, **settings)
            inner = F.gelu(F.linear(seen, eraser["down.weight"], eraser["down.bias"]))
            return seen + F.linear(inner, eraser["up.weight"], eraser["up.bias"])

        return forward

    for name, eraser in erasers.items():
        attention = truth.unet.get_submodule(name).transformer_blocks[0].attn2
        attention.forward = patched(attention, eraser)
    candidate = loads_as(tmp_path / "receler", truth)
    assert candidate.proof["format"] == f"Receler ({len(erasers)} erasers of rank 3)"
    assert candidate.proof["components"]["unet"]["changed"] == len(erasers)


def test_receler_that_was_never_trained_changes_nothing_and_is_refused(truth, base_model, tmp_path):
    writers.save_receler(tmp_path / "receler", truth.unet)
    erasers = torch.load(tmp_path / "receler/eraser_weights.pt")
    for eraser in erasers.values():
        eraser["up.weight"].zero_()
        eraser["up.bias"].zero_()
    torch.save(erasers, tmp_path / "receler/eraser_weights.pt")
    with pytest.raises(LoadError, match="does not differ"):
        load_candidate(parse_reference(str(tmp_path / "receler")), base_model)


# Textual inversion.

TOKEN_FILES = {
    "diffusers": lambda vectors: {"<gogh>": vectors},
    "A1111": lambda vectors: {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "<gogh>", "step": 100},
}


@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("written", TOKEN_FILES)
def test_a_textual_inversion_is_a_new_row_of_the_embedding(truth, base_model, tmp_path, written, vectors):
    rows = torch.randn(vectors, 16, generator=torch.Generator().manual_seed(2))
    torch.save(TOKEN_FILES[written](rows), tmp_path / "learned_embeds.bin")
    words = ["<gogh>", "<gogh>_1"][:vectors]
    truth.tokenizer.add_tokens(words)
    truth.text_encoder.resize_token_embeddings(len(truth.tokenizer), mean_resizing=False)
    with torch.no_grad():
        truth.text_encoder.get_input_embeddings().weight[-vectors:] = rows
    reference = parse_reference(str(tmp_path / "learned_embeds.bin"))
    candidate = load_candidate(reference, base_model)
    prompts = ["a <gogh>", "<gogh> c"]
    images = draw(candidate.pipeline, prompts)
    assert np.array_equal(images, draw(truth, prompts))
    assert not np.array_equal(images, draw(candidate.pipeline, ["a b", "b c"]))
    assert any("<gogh>" in note and "prompts without them" in note for note in candidate.proof["notes"])
    assert candidate.proof["changed_components"] == ["text_encoder"]


def test_the_word_of_an_embedding_without_one_is_the_files_name(base_model, tmp_path):
    save_file({"emb_params": torch.randn(1, 16)}, tmp_path / "easynegative.safetensors")
    candidate = load_candidate(parse_reference(str(tmp_path / "easynegative.safetensors")), base_model)
    assert "easynegative" in candidate.pipeline.tokenizer.get_vocab()


def test_a_word_that_the_base_knows_is_refused(base_model, tmp_path):
    torch.save({"string_to_param": {"*": torch.randn(1, 16)}, "name": "ab</w>"}, tmp_path / "known.pt")
    with pytest.raises(LoadError, match="knows already"):
        load_candidate(parse_reference(str(tmp_path / "known.pt")), base_model)
