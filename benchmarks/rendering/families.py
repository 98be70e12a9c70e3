"""Pipelines of the sizes that labs audit, with random weights: speed does not depend on what the weights are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters
from tempfile import TemporaryDirectory
from typing import Any

from dmun_audit._util import torchvision_compatibility

torchvision_compatibility.make_importable()

import torch  # noqa: E402 - torchvision must be importable before
from diffusers import (  # noqa: E402
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (  # noqa: E402
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

LETTERS = [*ascii_letters, *(letter + "</w>" for letter in ascii_letters), "<|startoftext|>", "<|endoftext|>"]


@dataclass(frozen=True)
class Family:
    """One size of model: how it is built, and how it is drawn as published. `batch` fits into 80 GB.

    `build` takes whether the model is whole. `is_small` models are whole on a CPU too.
    """

    name: str
    build: Callable[[bool], Any]
    steps: int
    guidance: float
    side: int  # pixels
    batch: int
    is_small: bool = False


@contextmanager
def weights_of(dtype: torch.dtype, device: str) -> Iterator[None]:
    """New networks get weights of this type on this device."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.manual_seed(0)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _clip_tokenizer() -> Any:
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(LETTERS)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def _t5_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def _clip(width: int, layers: int, heads: int, kind: Any = CLIPTextModel) -> Any:
    first, last = LETTERS.index("<|startoftext|>"), LETTERS.index("<|endoftext|>")
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
        bos_token_id=first,
        eos_token_id=last,
        pad_token_id=last,
    )
    return kind(config).eval()


def _autoencoder(whole: bool, **settings: Any) -> Any:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512) if whole else (32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        **settings,
    ).eval()


def sd15(whole: bool) -> Any:
    """Stable Diffusion 1.5; not `whole`, a narrow one for rehearsals."""
    width = 768 if whole else 32
    unet = UNet2DConditionModel(
        sample_size=64 if whole else 8,
        cross_attention_dim=width,
        attention_head_dim=8,
        **({} if whole else {"block_out_channels": (32, 64, 64, 64)}),
    )
    return StableDiffusionPipeline(
        vae=_autoencoder(whole),
        text_encoder=_clip(width, 12 if whole else 2, 12 if whole else 2),
        tokenizer=_clip_tokenizer(),
        unet=unet.eval(),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(whole: bool) -> Any:
    """Stable Diffusion XL; not `whole`, a narrow one."""
    one, two = (768, 1280) if whole else (32, 32)
    unet = UNet2DConditionModel(
        sample_size=128 if whole else 8,
        block_out_channels=(320, 640, 1280) if whole else (32, 64, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10) if whole else (1, 1, 1),
        attention_head_dim=(5, 10, 20) if whole else (2, 2, 2),
        cross_attention_dim=one + two,
        addition_embed_type="text_time",
        addition_time_embed_dim=256 if whole else 8,
        projection_class_embeddings_input_dim=6 * 256 + two if whole else 6 * 8 + two,
        use_linear_projection=True,
    )
    return StableDiffusionXLPipeline(
        vae=_autoencoder(whole, scaling_factor=0.13025),
        text_encoder=_clip(one, 12 if whole else 2, 12 if whole else 2),
        text_encoder_2=_clip(two, 32 if whole else 2, 20 if whole else 2, CLIPTextModelWithProjection),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1),
        add_watermarker=False,
    )


def flux(whole: bool) -> Any:
    """FLUX.1-dev with two of the 24 layers of its T5 encoder, which reads each prompt once; not `whole`, a narrow one."""
    text, pooled = (4096, 768) if whole else (32, 32)
    transformer = FluxTransformer2DModel(
        num_layers=19 if whole else 1,
        num_single_layers=38 if whole else 1,
        attention_head_dim=128 if whole else 16,
        num_attention_heads=24 if whole else 2,
        joint_attention_dim=text,
        pooled_projection_dim=pooled,
        guidance_embeds=True,
        axes_dims_rope=(16, 56, 56) if whole else (4, 6, 6),
    )
    t5 = T5EncoderModel(T5Config(vocab_size=3, d_model=text, d_kv=64, d_ff=2 * text, num_layers=2, num_heads=64 if whole else 2))
    return FluxPipeline(
        vae=_autoencoder(whole, latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=_clip(pooled, 12 if whole else 2, 12 if whole else 2),
        text_encoder_2=t5.eval(),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_t5_tokenizer(),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )


def atelier(whole: bool) -> Any:
    """The base of the atelier, which ships with the package: the weights are real."""
    from dmun_audit.models.loading import load_pipeline
    from dmun_audit.models.references import parse_reference

    dtype = str(torch.get_default_dtype()).removeprefix("torch.")
    return load_pipeline(parse_reference("atelier:base"), dtype).pipeline


FAMILIES = (
    Family("atelier", atelier, steps=20, guidance=3.0, side=64, batch=16, is_small=True),
    Family("sd15", sd15, steps=50, guidance=7.5, side=512, batch=16),
    Family("sdxl", sdxl, steps=30, guidance=5.0, side=1024, batch=8),
    Family("flux", flux, steps=28, guidance=3.5, side=1024, batch=4),
)
