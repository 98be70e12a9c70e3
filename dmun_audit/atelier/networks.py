"""The networks of the atelier: small networks with the standard architectures of diffusers, transformers and open_clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from dmun_audit._util import torchvision_compatibility
from dmun_audit.atelier import captions
from dmun_audit.models.folders import quietly

torchvision_compatibility.make_importable()

IMAGE_SIZE = 64
LATENT_SIZE = 8
LATENT_CHANNELS = 32
TEXT_WIDTH = 128
TEXT_LENGTH = 48  # tokens, begin and end included
VOCABULARY = 1500
GUIDANCE = 3.0
STEPS = 20


def make_tokenizer(folder: Path) -> Any:
    """Train a lower-case byte-level BPE on the phrases of the atelier and save it as a CLIP tokenizer in `folder`.

    The end token has the highest id, as the text towers of CLIP expect; it is the padding token too.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_word_pattern(), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False, min_frequency=1
    )
    bpe.train_from_iterator(sorted(set(captions.every_phrase())), trainer)
    learned = json.loads(bpe.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    known = set(tokens)
    kept = []
    for left, right in merges:
        if left in known and right in known:
            kept.append((left, right))
            if left + right not in known:
                known.add(left + right)
                tokens.append(left + right)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=kept, model_max_length=TEXT_LENGTH
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _word_pattern() -> Any:
    from tokenizers import Regex

    return Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


def make_text_encoder(tokenizer: Any) -> Any:
    """A CLIP text encoder with two layers and hidden states (batch, TEXT_LENGTH, TEXT_WIDTH)."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            projection_dim=TEXT_WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_autoencoder() -> Any:
    """An AutoencoderKL from (3, 64, 64) to latents (32, 8, 8). Its scaling factor is 1; the scale is in the weights."""
    from diffusers import AutoencoderKL

    channels = (16, 32, 48, 64)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=IMAGE_SIZE,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def make_unet() -> Any:
    """A conditional UNet with two levels over latents (32, 8, 8) and cross-attention on both levels."""
    from diffusers import UNet2DConditionModel

    channels = (96, 128)
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * len(channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(channels),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(3, 4),
        norm_num_groups=16,
    )


def noise_schedule() -> dict[str, Any]:
    """The noise schedule of Stable Diffusion 1: scaled linear, 1,000 steps, prediction of the noise."""
    return {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
    }


def save_pipeline(folder: Path, *, autoencoder: Any, text_encoder: Any, tokenizer: Any, unet: Any) -> None:
    """Write a StableDiffusionPipeline folder with weights in half precision."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    scheduler = DPMSolverMultistepScheduler(**noise_schedule(), steps_offset=1)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with quietly():
        pipeline.to(dtype=torch.float16)
        pipeline.save_pretrained(folder, safe_serialization=True)
        pipeline.to(dtype=torch.float32)
    # transformers loads a network in the type of its configuration, diffusers in single precision. Both shall use one type.
    configuration = folder / "text_encoder" / "config.json"
    configuration.write_text(json.dumps(json.loads(configuration.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def judge_configuration(vocabulary: int) -> dict[str, Any]:
    """The open_clip configuration of the judge: a small ResNet tower and a text tower with two layers."""
    return {
        "model_cfg": {
            "embed_dim": 96,
            "vision_cfg": {"image_size": IMAGE_SIZE, "layers": [1, 1, 2, 1], "width": 16, "head_width": 32},
            "text_cfg": {
                "context_length": TEXT_LENGTH,
                "vocab_size": vocabulary,
                "width": 96,
                "heads": 4,
                "layers": 2,
                "hf_tokenizer_name": "local",
                "tokenizer_kwargs": {},
            },
        },
        "preprocess_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }
