"""Small pipelines of every family with random weights. They are saved as real ones are, and draw quickly."""

# ruff: noqa: E402 - make_importable comes before all imports of torchvision

import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from dmun_audit._util import torchvision_compatibility

torchvision_compatibility.make_importable()

import torch
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from small_tokenizers import CLIP_LENGTH, clip_tokenizer, t5_tokenizer
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

WIDTH = 16
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}  # Stable Diffusion's


def _clip(projection=None):
    """A CLIP text encoder of two layers. With `projection`, it also projects its pooled output to that width."""
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CLIP_LENGTH,
        projection_dim=projection or WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


T5, UMT5 = (T5Config, T5EncoderModel), (UMT5Config, UMT5EncoderModel)


def _t5(width=WIDTH, kind=T5):
    config, model = kind
    words = len(t5_tokenizer())
    return model(
        config(vocab_size=words, d_model=width, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=1)
    )


def _autoencoder(shift=None):
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        scaling_factor=0.18215 if shift is None else 0.3611,
        shift_factor=shift,
        norm_num_groups=4,
        layers_per_block=1,
    )


def _unet(**settings):
    return UNet2DConditionModel(
        **{
            "sample_size": 4,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "cross_attention_dim": WIDTH,
            "attention_head_dim": 4,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            **settings,
        }
    )


def _stable_diffusion(scheduler):
    return StableDiffusionPipeline(
        vae=_autoencoder(),
        text_encoder=_clip(),
        tokenizer=clip_tokenizer(),
        unet=_unet(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd1():
    """Stable Diffusion 1: predicts noise, PNDM."""
    return _stable_diffusion(PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1))


def sd2():
    """Stable Diffusion 2 at 768 pixels: predicts velocity, DDIM."""
    return _stable_diffusion(
        DDIMScheduler(**BETAS, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    )


def latent_consistency():
    """A latent consistency model: Stable Diffusion 1 that takes its guidance as a condition and no negative prompt."""
    return LatentConsistencyModelPipeline(
        vae=_autoencoder(),
        text_encoder=_clip(),
        tokenizer=clip_tokenizer(),
        unet=_unet(time_cond_proj_dim=8),
        scheduler=LCMScheduler(**BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl():
    """SDXL: two text encoders, the second one's pooled output and the sizes as further conditions."""
    return StableDiffusionXLPipeline(
        vae=_autoencoder(),
        text_encoder=_clip(),
        text_encoder_2=_clip(projection=WIDTH),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=_unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=WIDTH + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(**BETAS, steps_offset=1),
    )


def sd3():
    """Stable Diffusion 3: three text encoders, joint attention, flow matching."""
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=4,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=16,
            pooled_projection_dim=2 * WIDTH,
            pos_embed_max_size=8,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_autoencoder(shift=0.1159),
        text_encoder=_clip(projection=WIDTH),
        text_encoder_2=_clip(projection=WIDTH),
        text_encoder_3=_t5(2 * WIDTH),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=t5_tokenizer(),
    )


def flux():
    """FLUX: CLIP's pooled output and T5's states, packed latents, distilled guidance."""
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=(2, 2, 4),
            guidance_embeds=True,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_autoencoder(shift=0.1159),
        text_encoder=_clip(),
        text_encoder_2=_t5(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(),
    )


def pixart():
    """PixArt-α: T5 and its attention mask."""
    return PixArtAlphaPipeline(
        transformer=PixArtTransformer2DModel(
            sample_size=4,
            patch_size=2,
            in_channels=4,
            out_channels=8,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            cross_attention_dim=16,
            caption_channels=WIDTH,
            use_additional_conditions=False,
        ),
        scheduler=DPMSolverMultistepScheduler(),
        vae=_autoencoder(),
        text_encoder=_t5(),
        tokenizer=t5_tokenizer(),
    )


def auraflow():
    """AuraFlow, a further diffusion transformer: UMT5 and its attention mask, flow matching."""
    return AuraFlowPipeline(
        transformer=AuraFlowTransformer2DModel(
            sample_size=4,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            caption_projection_dim=16,
            pos_embed_max_size=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
        vae=_autoencoder(),
        text_encoder=_t5(kind=UMT5),
        tokenizer=t5_tokenizer(),
    )


FAMILIES = {family.__name__: family for family in (sd1, sd2, sdxl, sd3, flux, pixart, auraflow)}
ATTENTION = {  # the tensors that unlearning edits: keys and values of the prompt
    "sd1": ("attn2.to_k.weight", "attn2.to_v.weight"),
    "sd2": ("attn2.to_k.weight", "attn2.to_v.weight"),
    "sdxl": ("attn2.to_k.weight", "attn2.to_v.weight"),
    "sd3": ("attn.add_k_proj.weight", "attn.add_v_proj.weight"),
    "flux": ("attn.add_k_proj.weight", "attn.add_v_proj.weight"),
    "auraflow": ("attn.add_k_proj.weight", "attn.add_v_proj.weight"),
    "pixart": ("attn2.to_k.weight", "attn2.to_v.weight"),
}


def save_family(name, folder):
    """Build the family called `name` from configuration, with the same weights every time, and save it in `folder`."""
    torch.manual_seed(0)
    FAMILIES[name]().save_pretrained(folder)
    return folder


def save_edited(name, base, folder):
    """A copy of the pipeline folder `base` whose attention to the prompt has new numbers."""
    shutil.copytree(base, folder)
    part = folder / ("transformer" if (folder / "transformer").is_dir() else "unet")
    (weights,) = part.glob("*.safetensors")
    tensors = load_file(weights)
    edited = [key for key in tensors if key.endswith(ATTENTION[name])]
    assert edited
    generator = torch.Generator().manual_seed(1)
    for key in edited:
        tensors[key] = torch.randn(tensors[key].shape, generator=generator)
    save_file(tensors, weights, metadata={"format": "pt"})
    return folder
