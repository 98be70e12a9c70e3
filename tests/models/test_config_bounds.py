"""The bounds on configurations let every real network pass, and nothing absurd."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from families import FAMILIES, save_family

from dmun_audit._util.errors import LoadError
from dmun_audit.models.config_bounds import Headers, network_fault, scheduler_fault, tokenizer_fault
from dmun_audit.models.headers import check_folder, check_network_folder
from dmun_audit.models.references import WEIGHTS_FOLDER

SMALL = Headers(tensors=200, longest_side=1_280)

# The defaults of these classes are published networks: SD 1, SD3, FLUX, PixArt-Σ, Sana, AuraFlow, Würstchen's relatives, VAEs.
NETWORKS = [
    "UNet2DConditionModel",
    "SD3Transformer2DModel",
    "FluxTransformer2DModel",
    "PixArtTransformer2DModel",
    "SanaTransformer2DModel",
    "AuraFlowTransformer2DModel",
    "StableCascadeUNet",
    "Kandinsky3UNet",
    "AutoencoderKL",
    "AutoencoderTiny",
    "AutoencoderDC",
    "VQModel",
    "CogView4Transformer2DModel",
    "QwenImageTransformer2DModel",
]
TEXT_ENCODERS = [
    "CLIPTextModel",
    "CLIPModel",
    "T5EncoderModel",
    "UMT5EncoderModel",
    "Gemma2Model",
    "LlamaModel",
    "Qwen2_5_VLModel",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks_pass(name):
    import diffusers
    from accelerate import init_empty_weights

    with init_empty_weights():
        network = getattr(diffusers, name)()
    table = json.loads(network.to_json_string())
    headers = Headers.of({key: tuple(tensor.shape) for key, tensor in network.state_dict().items()})
    assert network_fault(table, headers) == ""
    assert network_fault(table, None) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_published_text_encoders_pass(name):
    import torch
    import transformers

    kind = getattr(transformers, name)
    config = kind.config_class()
    with torch.device("meta"):
        network = kind(config)
    table = json.loads(config.to_json_string(use_diff=False))
    headers = Headers.of({key: tuple(tensor.shape) for key, tensor in network.state_dict().items()})
    assert network_fault(table, headers) == ""
    assert network_fault(table, None) == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_scheduler_of_diffusers_passes():
    import diffusers

    kinds = [getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler")]
    passed = 0
    for kind in kinds:
        try:
            table = json.loads(kind().to_json_string())
        except (TypeError, ImportError, ValueError):
            continue  # it needs arguments, or a package that is not installed
        assert scheduler_fault(table) == "", kind.__name__
        passed += 1
    assert passed >= 30


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_passes(name, tmp_path):
    check_folder(save_family(name, tmp_path / name))


@pytest.mark.parametrize("name", ["base", "retrained"])
def test_the_atelier_passes(name):
    check_folder(WEIGHTS_FOLDER / name)


@pytest.mark.parametrize(
    ("table", "headers", "culprit"),
    [
        ({"layers_per_block": 201}, SMALL, "layers_per_block is 201, and at most 200 makes sense: its weights have 200 tensors"),
        ({"num_hidden_layers": 10**6}, None, "num_hidden_layers is 1,000,000, and at most 1,000"),
        ({"text_config": {"num_hidden_layers": 10**6}}, SMALL, "num_hidden_layers"),
        ({"layers_per_block": 20, "down_block_types": ["a"] * 11}, SMALL, "the number of layers of all blocks is 220"),
        ({"block_out_channels": [320, 10**6]}, SMALL, "block_out_channels is 1,000,000"),
        ({"block_out_channels": [[10**6]]}, None, "block_out_channels"),
        ({"hidden_size": 10**6}, SMALL, "hidden_size"),
        ({"vocab_size": 10**8}, SMALL, "vocab_size"),
        ({"max_position_embeddings": 10**8}, SMALL, "max_position_embeddings"),
        ({"pos_embed_max_size": 30_000, "num_attention_heads": 24, "attention_head_dim": 64}, SMALL, "a grid of 30,000"),
        ({"sample_size": 8_192, "patch_size": 1, "num_attention_heads": 16, "attention_head_dim": 72}, SMALL, "a grid of 8,192"),
        ({"scaling_factor": float("nan")}, SMALL, "scaling_factor is nan"),
        ({"scaling_factor": -1}, SMALL, "scaling_factor is not above 0"),
    ],
)
def test_absurd_numbers_are_named(table, headers, culprit):
    assert culprit in network_fault(table, headers)


def test_what_may_be_infinite():
    assert network_fault({"time_step_limit": [0.0, float("inf")]}, SMALL) == ""
    assert "norm_eps is inf" in network_fault({"norm_eps": float("inf")}, SMALL)


def test_an_empty_tensor_bounds_nothing():
    assert Headers.of({"a": (1 << 40, 0), "b": (8, 16)}).longest_side == 16


def test_schedulers_and_tokenizers():
    assert scheduler_fault({"lambda_min_clipped": float("-inf"), "num_train_timesteps": 1_000}) == ""
    assert "beta_end is inf" in scheduler_fault({"beta_end": float("inf")})
    assert "1 to 100,000 steps" in scheduler_fault({"num_train_timesteps": 10**9})
    assert tokenizer_fault({"model_max_length": 10**30}) == ""
    assert tokenizer_fault({"model_max_length": 131_072}) == ""
    assert "model_max_length" in tokenizer_fault({"model_max_length": 10**9})


def test_the_folder_of_a_judge_or_language_model_is_bounded_too(tmp_path):
    folder = Path(shutil.copytree(WEIGHTS_FOLDER / "base" / "text_encoder", tmp_path / "network"))
    check_network_folder(folder)
    table = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(table | {"num_hidden_layers": 10**6}))
    with pytest.raises(LoadError, match=r"config\.json is no usable configuration(.|\n)*num_hidden_layers is 1,000,000"):
        check_network_folder(folder)
