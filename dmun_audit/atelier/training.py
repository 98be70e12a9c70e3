"""Trains the models of the atelier: the autoencoder and the diffusion models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dmun_audit.atelier import captions, networks
from dmun_audit.atelier.classifiers import StyleClassifier
from dmun_audit.atelier.dataset import Pool
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.painters import STYLES, SUBJECTS
from dmun_audit.atelier.tensors import step_generator, to_tensor

Progress = Callable[[str], None]


def train_autoencoder(pool: Pool, folder: Path, *, steps: int, seed: int, progress: Progress, device: str = "cpu") -> Any:
    """Train the autoencoder on painted pictures, and scale its latents to mean 0 and standard deviation 1 in each channel.

    The scale is part of `quant_conv` and `post_quant_conv`, so pipelines use the autoencoder with a scaling factor of 1.
    """
    torch.manual_seed(seed)
    network = networks.make_autoencoder().to(memory_format=torch.channels_last)

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        chosen = torch.randint(len(pool.pictures), (32,), generator=generator).numpy()
        picture = to_tensor(pool.pictures[chosen]).to(device, memory_format=torch.channels_last)
        latent = network.encode(picture).latent_dist.mode()
        noisy = latent + 0.05 * latent.detach().std() * torch.randn(latent.shape, generator=generator).to(device)
        restored = network.decode(noisy).sample
        error = restored - picture
        slopes = sum((error.diff(dim=axis)).abs().mean() for axis in (2, 3))
        return error.abs().mean() + 0.5 * error.square().mean() + 0.5 * slopes + 1e-4 * latent.square().mean()

    checkpoint = folder / "autoencoder.pt"
    average = train(
        "autoencoder", network, loss_of, steps=steps, rate=2e-3, checkpoint=checkpoint, progress=progress, device=device
    )
    average = average.to(memory_format=torch.contiguous_format).eval()
    _whiten(average, pool)
    return average


def train_decoder(
    autoencoder: Any,
    critic: StyleClassifier,
    pool: Pool,
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    device: str = "cpu",
) -> Any:
    """Train the decoder on texture, with a fixed encoder. Returns the autoencoder with averaged weights.

    The latents do not contain the positions of strokes and dots, so a loss on pixels would blur them. Therefore blurred
    pictures are compared, and their texture by the Gram matrices of the critic's features (Gatys et al. 2016) over a grid
    of windows.
    """
    latents = encode_pool(autoencoder, pool.pictures)
    for part in (autoencoder.encoder, autoencoder.quant_conv, critic):
        part.requires_grad_(False)
    critic.to(device)
    decoding = [*autoencoder.decoder.parameters(), *autoencoder.post_quant_conv.parameters()]

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        chosen = torch.randint(len(latents), (16,), generator=generator)
        picture = to_tensor(pool.pictures[chosen.numpy()]).to(device)
        latent = (latents[chosen] + 0.05 * torch.randn((len(chosen), *latents.shape[1:]), generator=generator)).to(device)
        restored = autoencoder.decode(latent).sample
        near = (F.avg_pool2d(restored, 4) - F.avg_pool2d(picture, 4)).abs().mean()
        exact = (restored - picture).abs().mean()
        texture = sum(
            (ours - theirs).abs().mean() / theirs.abs().mean()
            for ours, theirs in zip(critic.textures(restored), critic.textures(picture), strict=True)
        )
        return 2 * near + 0.5 * exact + 0.5 * texture

    return train(
        "decoder",
        autoencoder,
        loss_of,
        steps=steps,
        rate=rate,
        checkpoint=checkpoint,
        progress=progress,
        parameters=decoding,
        decay=0.99,
        device=device,
    ).eval()


@torch.no_grad()
def _whiten(autoencoder: Any, pool: Pool) -> None:
    latents = encode_pool(autoencoder, pool.pictures[:: max(1, len(pool.pictures) // 2000)])
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    channels = networks.LATENT_CHANNELS
    into, back = autoencoder.quant_conv, autoencoder.post_quant_conv
    into.weight[:channels] /= deviation[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    back.bias += (back.weight[:, :, 0, 0] @ mean[:, None])[:, 0]
    back.weight *= deviation[None, :, None, None]


@torch.no_grad()
def encode_pool(autoencoder: Any, pictures: np.ndarray, batch: int = 128) -> torch.Tensor:
    """Latents (n, 32, 8, 8) of the pictures: the mode of the posterior, without noise."""
    parts = [
        autoencoder.encode(to_tensor(pictures[start : start + batch])).latent_dist.mode()
        for start in range(0, len(pictures), batch)
    ]
    return torch.cat(parts)


class Conditioned(nn.Module):
    """Text encoder and UNet, which are trained together."""

    def __init__(self, text_encoder: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet


def train_diffusion(
    name: str,
    network: Conditioned,
    tokenizer: Any,
    pool: Pool,
    latents: torch.Tensor,
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    favoured: Mapping[str, float] | None = None,
    unplaced: float = 0.0,
    batch: int = 64,
    device: str = "cpu",
) -> Conditioned:
    """Train `network` to predict the noise on captioned latents (Ho et al. 2020), one caption in ten left empty.

    Losses are weighted by min(SNR, 5) / SNR (Hang et al. 2023). Pictures of a style in `favoured` are drawn more often, by
    the given factor. A share `unplaced` of the photographs has captions with invented names and words, so the model renders
    a photograph for words that it does not know. Returns the network with averaged weights.
    """
    shares = torch.ones(len(latents))
    for favourite, times in (favoured or {}).items():
        shares[torch.from_numpy(pool.styles == STYLES.index(favourite))] = times
    schedule = networks.noise_schedule()
    betas = torch.linspace(schedule["beta_start"] ** 0.5, schedule["beta_end"] ** 0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0).float()

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        drawn = np.random.default_rng((seed, step))
        chosen = torch.multinomial(shares, batch, replacement=True, generator=generator)
        texts = []
        for style, subject in ((STYLES[pool.styles[i]], SUBJECTS[pool.subjects[i]]) for i in chosen.tolist()):
            if drawn.random() < 0.1:
                texts.append("")
            elif style == "photograph" and drawn.random() < unplaced:
                texts.append(captions.unplaced(subject, drawn))
            else:
                texts.append(captions.caption(style, subject, drawn))
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        noise = torch.randn((batch, *latents.shape[1:]), generator=generator)
        time = torch.randint(1000, (batch,), generator=generator)
        signal = kept[time][:, None, None, None]
        noisy = signal.sqrt() * latents[chosen] + (1 - signal).sqrt() * noise
        tokens, noisy, time, noise, signal = (value.to(device) for value in (tokens, noisy, time, noise, signal))
        # On a CPU the backward pass of fused attention takes 40% of a step; plain matrix products are faster.
        plain = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
        with torch.autocast(torch.device(device).type, torch.bfloat16), plain:
            states = network.text_encoder(tokens).last_hidden_state
            predicted = network.unet(noisy, time, states).sample
        error = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
        ratio = (signal / (1 - signal)).flatten()
        return (error * ratio.clamp(max=5) / ratio).mean()

    average = train(
        name, network, loss_of, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress, decay=0.9985, device=device
    )
    return average.eval()
