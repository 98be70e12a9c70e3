"""Edited weights for families other than SD 1: each gives the images of the weights that it was made from."""

from __future__ import annotations

import copy

import families
import numpy as np
import pytest
import torch
import writers
from safetensors.torch import save_file

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts.naming import compvis_unet
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference
from dmun_audit.policy import Sampling
from dmun_audit.render.sampling import open_sampler

pytestmark = pytest.mark.slow

SAMPLING = Sampling(steps=2, guidance=3.0, batch=2, threads=1, dtype="float32", size=32)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """The base of each family, loaded when it is asked for."""
    torch.set_num_threads(1)  # with more, the same weights may give another last bit
    loaded = {}

    def base(name):
        if name not in loaded:
            folder = families.save_family(name, tmp_path_factory.mktemp("families") / name)
            loaded[name] = load_pipeline(parse_reference(str(folder)))
        return loaded[name]

    return base


def draw(model):
    return open_sampler(model, SAMPLING, "cpu").sample(["a house by the sea", "a boat"], [1, 2])


def same_images(path, base, truth):
    """Load `path` over the base and require the images of the pipeline `truth`, and not those of the base."""
    reference = parse_reference(str(path))
    cheap_check(reference, base.reference)
    candidate = load_candidate(reference, base)
    images = draw(candidate)
    by_hand = copy.copy(base)
    object.__setattr__(by_hand, "pipeline", truth)
    assert np.array_equal(images, draw(by_hand))
    assert not np.array_equal(images, draw(base))
    return candidate


def denoiser(pipeline):
    return getattr(pipeline, "unet", None) or pipeline.transformer


def edited(name, network):
    """New numbers for the attention to the prompt; returns them by name."""
    generator = torch.Generator().manual_seed(3)
    state = network.state_dict()
    chosen = {key: state[key] for key in state if key.endswith(families.ATTENTION[name])}
    for tensor in chosen.values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return {key: tensor.clone() for key, tensor in chosen.items()}


@pytest.mark.parametrize("name", families.FAMILIES)
def test_part_of_a_denoiser_in_diffusers_names(bases, tmp_path, name):
    base = bases(name)
    truth = copy.deepcopy(base.pipeline)
    save_file(edited(name, denoiser(truth)), tmp_path / "edited.safetensors")
    proof = same_images(tmp_path / "edited.safetensors", base, truth).proof
    assert proof["changed_components"] == ["unet" if hasattr(truth, "unet") else "transformer"]


@pytest.mark.parametrize("names", ["diffusers", "peft"])
@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_lora_for_any_denoiser(bases, tmp_path, name, names):
    base = bases(name)
    truth = copy.deepcopy(base.pipeline)
    prefix = "base_model.model." if names == "peft" else "unet." if hasattr(truth, "unet") else "transformer."
    generator = torch.Generator().manual_seed(4)
    tensors = {}
    for key, weight in denoiser(truth).state_dict().items():
        if key.endswith(families.ATTENTION[name]):
            down, up = torch.randn(2, weight.shape[1], generator=generator), torch.randn(weight.shape[0], 2, generator=generator)
            stem = prefix + key.removesuffix(".weight")
            tensors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
            weight += up @ down
    save_file(tensors, tmp_path / "lora.safetensors")
    assert same_images(tmp_path / "lora.safetensors", base, truth).proof["matched"] == len(tensors)


def test_kohyas_lora_for_sdxl(bases, tmp_path):
    """Blocks in Stability's names, both text encoders."""
    base = bases("sdxl")
    truth = copy.deepcopy(base.pipeline)
    state = truth.unet.state_dict()
    older = {place: name.removesuffix(".weight") for name, place in compvis_unet(state).items()}
    places = [key for key in state if key.endswith(families.ATTENTION["sdxl"])]
    assert any(older[place].startswith("output_blocks.") for place in places)
    tensors = writers.kohya({older[place]: state[place] for place in places}, rank=2, alpha=1.0)
    for place in places:
        stem = "lora_unet_" + older[place].replace(".", "_")
        state[place] += tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"] * 0.5
    for prefix, network in (("lora_te1_", truth.text_encoder), ("lora_te2_", truth.text_encoder_2)):
        weights = network.state_dict()
        place = next(key for key in weights if key.endswith("encoder.layers.1.mlp.fc1.weight"))
        module = "text_model." + place.removeprefix("text_model.").removesuffix(".weight")
        pair = writers.kohya({module: weights[place]}, rank=2, alpha=2.0, prefix=prefix)
        down, up, _ = pair.values()
        weights[place] += up @ down
        tensors |= pair
    save_file(tensors, tmp_path / "lora.safetensors")
    proof = same_images(tmp_path / "lora.safetensors", base, truth).proof
    assert proof["changed_components"] == ["text_encoder", "text_encoder_2", "unet"]


def test_a_single_file_of_sdxl(bases, tmp_path):
    """The UNet's names are checked against diffusers' own converter, which reads complete files."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    base = bases("sdxl")
    truth = copy.deepcopy(base.pipeline)
    edited("sdxl", truth.unet)
    state = truth.unet.state_dict()
    whole = {f"model.diffusion_model.{older}": state[place].clone() for older, place in compvis_unet(state).items()}
    theirs = convert_ldm_unet_checkpoint(dict(whole), dict(truth.unet.config))
    assert theirs.keys() == state.keys()
    assert all(torch.equal(theirs[name], state[name]) for name in state)
    first, second = truth.text_encoder.state_dict(), truth.text_encoder_2.state_dict()
    for network in (first, second):
        network[next(key for key in network if key.endswith("layers.0.mlp.fc1.bias"))] += 0.5
    whole |= {f"conditioner.embedders.0.transformer.text_model.{name}": tensor.clone() for name, tensor in first.items()}
    flat = {name.removeprefix("text_model."): tensor for name, tensor in second.items()}
    whole |= writers.open_clip_text(flat, prefix="conditioner.embedders.1.model.")
    whole["conditioner.embedders.1.model.text_projection"] = flat["text_projection.weight"].T.contiguous()
    whole["conditioner.embedders.1.model.logit_scale"] = torch.ones(())
    torch.save({"state_dict": whole, "global_step": 1}, tmp_path / "sdxl.ckpt")
    proof = same_images(tmp_path / "sdxl.ckpt", base, truth).proof
    assert proof["missing"] == 0
    assert proof["changed_components"] == ["text_encoder", "text_encoder_2", "unet"]


def test_a_textual_inversion_of_sdxl_has_a_vector_for_each_encoder(bases, tmp_path):
    base = bases("sdxl")
    save_file({"clip_l": torch.ones(1, families.WIDTH), "clip_g": torch.ones(1, families.WIDTH)}, tmp_path / "gogh.safetensors")
    candidate = load_candidate(parse_reference(str(tmp_path / "gogh.safetensors")), base)
    assert "gogh" in candidate.pipeline.tokenizer.get_vocab()
    assert "gogh" in candidate.pipeline.tokenizer_2.get_vocab()
    assert candidate.proof["changed_components"] == ["text_encoder", "text_encoder_2"]


def test_weights_in_bfloat16_become_the_pipelines_type(bases, tmp_path):
    base = bases("flux")
    truth = copy.deepcopy(base.pipeline)
    state = {name: tensor.bfloat16() for name, tensor in edited("flux", truth.transformer).items()}
    for name, tensor in state.items():
        truth.transformer.state_dict()[name].copy_(tensor)
    save_file(state, tmp_path / "esd.safetensors")
    same_images(tmp_path / "esd.safetensors", base, truth)


def test_a_transformer_is_no_unet(bases, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    with pytest.raises(LoadError, match=r"the base has no unet"):
        load_candidate(parse_reference(str(tmp_path / "uce.safetensors")), bases("flux"))


# FLUX and SD3 in the names of those who published them.


def shaken(network):
    """A state dict with every number moved a little; the network holds it."""
    generator = torch.Generator().manual_seed(9)
    state = network.state_dict()
    for tensor in state.values():
        tensor += torch.randn(tensor.shape, generator=generator) * 0.05
    return {name: tensor.clone() for name, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("extent", ["full", "partial"])
def test_flux_in_its_original_names(bases, tmp_path, prefix, extent):
    base = bases("flux")
    truth = copy.deepcopy(base.pipeline)
    written = writers.flux_original(shaken(truth.transformer))
    if extent == "partial":
        before = writers.flux_original(base.pipeline.transformer.state_dict())
        kept = {name for name in written if "txt_attn" in name or "linear1" in name}
        mixed = {name: written[name] if name in kept else before[name] for name in written}
        written = {name: written[name] for name in kept}
        truth = copy.deepcopy(base.pipeline)
        for name, tensor in truth.transformer.state_dict().items():
            tensor.copy_(_from_flux(mixed, truth.transformer.state_dict())[name])
    save_file({prefix + name: tensor for name, tensor in written.items()}, tmp_path / "flux.safetensors")
    proof = same_images(tmp_path / "flux.safetensors", base, truth).proof
    assert proof["format"] == f"{extent} transformer (safetensors, original names)"
    assert proof["matched"] == len(written)
    assert (proof["missing"] == 0) is (extent == "full")


def _from_flux(mixed, state):
    """The inverse of the writer, found by writing numbered tensors and looking where the numbers went."""
    sizes = {name: tensor.numel() for name, tensor in state.items()}
    numbered, first = {}, 0
    for name, tensor in state.items():
        numbered[name] = torch.arange(first, first + sizes[name], dtype=torch.float64).reshape(tensor.shape)
        first += sizes[name]
    values = torch.empty(first, dtype=torch.float32)
    for name, places in writers.flux_original(numbered).items():
        values[places.long().flatten()] = mixed[name].flatten()
    return {name: values[numbered[name].long()] for name in state}


def test_the_writer_of_flux_writes_the_names_and_shapes_that_diffusers_reads():
    """The library's converter knows only the real width, so it is asked on tensors without numbers."""
    from diffusers import FluxTransformer2DModel
    from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

    with torch.device("meta"):
        network = FluxTransformer2DModel(num_layers=1, num_single_layers=2, guidance_embeds=True)
    theirs = convert_flux_transformer_checkpoint_to_diffusers(writers.flux_original(network.state_dict()))
    assert {name: tensor.shape for name, tensor in theirs.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }


def test_sd3_in_its_original_names_as_diffusers_reads_it(bases, tmp_path):
    from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers

    from dmun_audit.models.artifacts.naming_transformers import sd3

    base = bases("sd3")
    truth = copy.deepcopy(base.pipeline)
    state = shaken(truth.transformer)
    pieces: dict = {}
    for source, place in sd3({name: tuple(tensor.shape) for name, tensor in state.items()}):
        tensor = torch.cat(state[place].chunk(2)[::-1]) if source.swapped else state[place]
        pieces.setdefault(source.name, {})[source.first_row] = tensor
    written = {name: torch.cat([rows[first] for first in sorted(rows)]) for name, rows in pieces.items()}
    theirs = convert_sd3_transformer_checkpoint_to_diffusers(dict(written))
    assert theirs.keys() == state.keys()
    assert all(torch.equal(theirs[name], state[name]) for name in state)
    save_file({f"model.diffusion_model.{name}": tensor for name, tensor in written.items()}, tmp_path / "sd3.safetensors")
    assert same_images(tmp_path / "sd3.safetensors", base, truth).proof["missing"] == 0


def test_kohyas_lora_for_flux_is_cut_into_the_places_that_diffusers_keeps_apart(bases, tmp_path):
    base = bases("flux")
    truth = copy.deepcopy(base.pipeline)
    state = truth.transformer.state_dict()
    older = writers.flux_original(state)
    modules = (
        "double_blocks.0.txt_attn.qkv",
        "single_blocks.0.linear1",
        "final_layer.adaLN_modulation.1",
        "double_blocks.0.img_mlp.2",
    )
    tensors = writers.kohya({module: older[f"{module}.weight"] for module in modules}, rank=2, alpha=2.0)
    for module in modules:
        stem = "lora_unet_" + module.replace(".", "_")
        older[f"{module}.weight"] += tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"]
    for name, tensor in _from_flux(older, state).items():
        state[name].copy_(tensor)
    save_file(tensors, tmp_path / "lora.safetensors")
    proof = same_images(tmp_path / "lora.safetensors", base, truth).proof
    assert proof["matched"] == len(tensors)
    assert proof["components"]["transformer"]["changed"] == 3 + 4 + 1 + 1


# Which of several text encoders.


def _shaken_folder(network, folder):
    shaken(network)
    network.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "part"),
    [("sdxl", "text_encoder_2"), ("sd3", "text_encoder_2"), ("sd3", "text_encoder_3"), ("flux", "text_encoder_2")],
)
def test_the_folder_of_a_text_encoder_goes_where_it_is_called(bases, tmp_path, name, part):
    base = bases(name)
    truth = copy.deepcopy(base.pipeline)
    proof = same_images(_shaken_folder(getattr(truth, part), tmp_path / part), base, truth).proof
    assert proof["changed_components"] == [part]


def test_a_text_encoder_that_fits_two_places_is_refused(bases, tmp_path):
    truth = copy.deepcopy(bases("sd3").pipeline)
    flat = {name.removeprefix("text_model."): tensor for name, tensor in shaken(truth.text_encoder_2).items()}
    save_file(flat, tmp_path / "unnamed.safetensors")
    with pytest.raises(LoadError, match="fits text_encoder and text_encoder_2 of the base alike"):
        load_candidate(parse_reference(str(tmp_path / "unnamed.safetensors")), bases("sd3"))


def test_t5_may_hold_its_embedding_under_both_of_its_names(bases, tmp_path):
    base = bases("flux")
    truth = copy.deepcopy(base.pipeline)
    state = shaken(truth.text_encoder_2)
    state.pop("encoder.embed_tokens.weight", None)
    both = state | {"encoder.embed_tokens.weight": state["shared.weight"].clone()}
    save_file({f"text_encoders.t5xxl.transformer.{name}": tensor for name, tensor in both.items()}, tmp_path / "t5.safetensors")
    same_images(tmp_path / "t5.safetensors", base, truth)


def test_a_textual_inversion_of_sd3_is_one_error(bases, tmp_path):
    save_file({"<gogh>": torch.ones(families.WIDTH)}, tmp_path / "gogh.safetensors")
    with pytest.raises(LoadError, match="takes no textual inversions"):
        load_candidate(parse_reference(str(tmp_path / "gogh.safetensors")), bases("sd3"))
