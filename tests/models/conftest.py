"""A Stable Diffusion pipeline small enough to build, save and load in a moment."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

WORDS = ["a", "b", "c", "d"]
PREFIX = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"


def _tokenizer(folder: Path):
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True)
    tokens = [*WORDS, *(word + "</w>" for word in WORDS), "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)


def _build(folder: Path) -> None:
    import torch

    from dmun_audit._util import torchvision_compatibility

    torchvision_compatibility.make_importable()
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    tokenizer = _tokenizer(folder.parent / "words")
    unet = UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=8,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )
    autoencoder = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        layers_per_block=1,
    )
    StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Path:
    """The base; tests read it and never write into it."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "base"
    _build(folder)
    return folder


@pytest.fixture(scope="session")
def base_model(base_folder):
    from dmun_audit.models.loading import load_pipeline
    from dmun_audit.models.references import parse_reference

    return load_pipeline(parse_reference(str(base_folder)))


@pytest.fixture
def copied(base_folder, tmp_path) -> Path:
    """A copy of the base that a test may edit."""
    return Path(shutil.copytree(base_folder, tmp_path / "copy"))


@pytest.fixture
def edit(base_model):
    """What UCE publishes: the cross-attention's keys and values, with new numbers."""
    import torch

    generator = torch.Generator().manual_seed(1)
    state = base_model.pipeline.unet.state_dict()
    names = [name for name in state if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))]
    return {name: torch.randn(state[name].shape, generator=generator) for name in names}


@pytest.fixture
def truth(base_model):
    """A pipeline of the base's weights to edit by hand."""
    import copy

    pipeline = copy.deepcopy(base_model.pipeline)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def loads_as(base_model, base_folder):
    """Load a file over the base and require the images of `pipeline`, bit for bit, and not those of the base."""

    import numpy as np
    from drawing import draw

    from dmun_audit.models.headers import cheap_check
    from dmun_audit.models.loading import load_candidate
    from dmun_audit.models.references import parse_reference

    def check(path, pipeline):
        reference = parse_reference(str(path))
        cheap_check(reference, parse_reference(str(base_folder)))
        candidate = load_candidate(reference, base_model)
        images = draw(candidate.pipeline, set_prompts=candidate.set_prompts)
        assert np.array_equal(images, draw(pipeline))
        assert not np.array_equal(images, draw(base_model.pipeline))
        return candidate

    return check


@pytest.fixture
def refused(base_model, base_folder):
    """Have a file refused by the check before torch and by the loading itself; return both messages, the base untouched."""

    from dmun_audit._util.errors import LoadError
    from dmun_audit.models.fingerprint import weights_digest
    from dmun_audit.models.headers import cheap_check
    from dmun_audit.models.loading import load_candidate
    from dmun_audit.models.references import parse_reference

    def refuse(path: Path, *, early: bool = True) -> str:
        messages = []
        if early:
            with pytest.raises(LoadError) as caught:
                cheap_check(parse_reference(str(path)), parse_reference(str(base_folder)))
            messages.append(str(caught.value))
        with pytest.raises(LoadError) as caught:
            load_candidate(parse_reference(str(path)), base_model)
        messages.append(str(caught.value))
        assert all(str(path) in message for message in messages)
        assert weights_digest(base_model.pipeline) == base_model.weights_digest
        return "\n".join(messages)

    return refuse
