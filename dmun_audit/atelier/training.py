"""Trains the atelier's networks: the autoencoder, the diffusion models, the judge and the second classifier."""

from __future__ import annotations

import json
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
from dmun_audit.atelier.dataset import Pool
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.painters import STYLES, SUBJECTS

Tell = Callable[[str], None]


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) float32 in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def train_autoencoder(pool: Pool, folder: Path, *, steps: int, seed: int, tell: Tell, device: str = "cpu") -> Any:
    """Train the autoencoder on painted pictures and scale its latents to zero mean and unit deviation per channel.

    The scale is folded into `quant_conv` and `post_quant_conv`, so that pipelines use it with a scaling factor of 1.
    """
    torch.manual_seed(seed)
    network = networks.make_autoencoder().to(memory_format=torch.channels_last)

    def loss_of(step: int) -> torch.Tensor:
        generator = _generator(seed, step)
        chosen = torch.randint(len(pool.pictures), (32,), generator=generator).numpy()
        picture = to_tensor(pool.pictures[chosen]).to(device, memory_format=torch.channels_last)
        latent = network.encode(picture).latent_dist.mode()
        noisy = latent + 0.05 * latent.detach().std() * torch.randn(latent.shape, generator=generator).to(device)
        restored = network.decode(noisy).sample
        error = restored - picture
        slopes = sum((error.diff(dim=axis)).abs().mean() for axis in (2, 3))
        return error.abs().mean() + 0.5 * error.square().mean() + 0.5 * slopes + 1e-4 * latent.square().mean()

    checkpoint = folder / "autoencoder.pt"
    average = train("autoencoder", network, loss_of, steps=steps, rate=2e-3, checkpoint=checkpoint, tell=tell, device=device)
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
    tell: Tell,
    device: str = "cpu",
) -> Any:
    """Teach the decoder texture, the encoder standing still; returns the autoencoder with averaged weights.

    Pixel losses make strokes and dots blur, since their places are not in the latents. So pictures are compared blurred,
    and their texture by Gram matrices of the critic's features (Gatys et al. 2016) over a grid of windows.
    """
    latents = encode_pool(autoencoder, pool.pictures)
    for part in (autoencoder.encoder, autoencoder.quant_conv, critic):
        part.requires_grad_(False)
    critic.to(device)
    decoding = [*autoencoder.decoder.parameters(), *autoencoder.post_quant_conv.parameters()]

    def loss_of(step: int) -> torch.Tensor:
        generator = _generator(seed, step)
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
        tell=tell,
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
    """Latents (n, 32, 8, 8) of the pictures: the mode of the posterior, no noise."""
    parts = [
        autoencoder.encode(to_tensor(pictures[start : start + batch])).latent_dist.mode()
        for start in range(0, len(pictures), batch)
    ]
    return torch.cat(parts)


class Conditioned(nn.Module):
    """The text encoder and the UNet that are trained together."""

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
    tell: Tell,
    favoured: Mapping[str, float] | None = None,
    unplaced: float = 0.0,
    batch: int = 64,
    device: str = "cpu",
) -> Conditioned:
    """Train `network` to predict the noise on captioned latents (Ho et al. 2020), one caption in ten left empty.

    Losses are weighted by min(SNR, 5) / SNR (Hang et al. 2023). `favoured` says of styles how many times as often as others
    their pictures are drawn; a share `unplaced` of photographs is captioned with names and words that nobody knows, so that
    what a model has never met falls back to a photograph. Returns the network with averaged weights.
    """
    shares = torch.ones(len(latents))
    for favourite, times in (favoured or {}).items():
        shares[torch.from_numpy(pool.styles == STYLES.index(favourite))] = times
    schedule = networks.noise_schedule()
    betas = torch.linspace(schedule["beta_start"] ** 0.5, schedule["beta_end"] ** 0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0).float()

    def loss_of(step: int) -> torch.Tensor:
        generator = _generator(seed, step)
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
        # The fused attention of a CPU takes four tenths of a step in its backward pass; plain matrix products do not.
        plain = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
        with torch.autocast(torch.device(device).type, torch.bfloat16), plain:
            states = network.text_encoder(tokens).last_hidden_state
            predicted = network.unet(noisy, time, states).sample
        error = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
        ratio = (signal / (1 - signal)).flatten()
        return (error * ratio.clamp(max=5) / ratio).mean()

    average = train(name, network, loss_of, steps=steps, rate=rate, checkpoint=checkpoint, tell=tell, decay=0.9985, device=device)
    assert isinstance(average, Conditioned)
    return average.eval()


def train_judge(
    pool: Pool, tokenizer: Any, folder: Path, out: Path, *, steps: int, seed: int, tell: Tell, device: str = "cpu"
) -> None:
    """Train the judge on painted pictures and captions and write an open_clip folder to `out`.

    A batch holds every pair of style and subject once, so no two captions of a pair are alike. Contrastive losses are
    summed: pictures against captions of both, and of style, subject, movement and kind of subject alone.
    """
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    configuration = networks.judge_configuration(len(tokenizer))
    network = open_clip.model.CLIP(**configuration["model_cfg"])
    by_pair = [
        np.flatnonzero((pool.styles == style) & (pool.subjects == subject))
        for style in range(len(STYLES))
        for subject in range(len(SUBJECTS))
    ]
    mean, deviation = 0.5, 0.25
    movements = np.array([captions.MOVEMENTS.index(captions.STYLE_WORDS[style].movement) for style in STYLES])
    parents = np.array([captions.PARENTS.index(captions.SUBJECT_WORDS[subject].parent) for subject in SUBJECTS])

    def texts(lines: list[str]) -> torch.Tensor:
        tokens = tokenizer(lines, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
        return network.encode_text(tokens, normalize=True)

    def loss_of(step: int) -> torch.Tensor:
        drawn = np.random.default_rng((seed, step))
        chosen = np.array([rows[drawn.integers(len(rows))] for rows in by_pair])
        picture = (to_tensor(pool.pictures[chosen]) + 1) / 2
        picture = _augment(picture, _generator(seed, step)).to(device)
        seen = network.encode_image((picture - mean) / deviation, normalize=True)
        scale = network.logit_scale.exp().clamp(max=100)
        pairs = [(STYLES[pool.styles[i]], SUBJECTS[pool.subjects[i]]) for i in chosen]
        both = [captions.named(*p, drawn) if drawn.random() < 0.6 else captions.described(*p, drawn) for p in pairs]
        logits = scale * seen @ texts(both).T
        target = torch.arange(len(pairs), device=device)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        for lines, target in (
            ([captions.style_only(style, drawn) for style in STYLES], pool.styles[chosen]),
            ([captions.subject_only(subject, drawn) for subject in SUBJECTS], pool.subjects[chosen]),
            ([f"a {movement} painting" for movement in captions.MOVEMENTS], movements[pool.styles[chosen]]),
            ([f"a painting of {parent}" for parent in captions.PARENTS], parents[pool.subjects[chosen]]),
        ):
            loss = loss + F.cross_entropy(scale * seen @ texts(lines).T, torch.from_numpy(target).to(device))
        return loss

    checkpoint = folder / "judge.pt"
    average = train(
        "judge", network, loss_of, steps=steps, rate=2e-3, checkpoint=checkpoint, tell=tell, decay=0.99, device=device
    )
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    (out / "open_clip_config.json").write_text(json.dumps(configuration, indent=2) + "\n")
    weights = {key: value.half() if value.is_floating_point() else value for key, value in average.state_dict().items()}
    save_file({key: value.contiguous() for key, value in weights.items()}, out / "open_clip_model.safetensors")


def _augment(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Slight shifts, blur and noise, so that the judge does not depend on how crisp a painted picture is."""
    shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
    pictures = torch.roll(pictures, shift, dims=(2, 3))
    if torch.rand((), generator=generator) < 0.5:
        soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        share = torch.rand((len(pictures), 1, 1, 1), generator=generator)
        pictures = share * soft + (1 - share) * pictures
    return (pictures + 0.03 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1)


class StyleClassifier(nn.Module):
    """A plain convolutional classifier of style: (n, 3, 64, 64) in [-1, 1] to logits (n, styles). Checks on the judge."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for channels in (16, 32, 48, 64):
            layers += [nn.Conv2d(width, channels, 5, stride=2, padding=2), nn.BatchNorm2d(channels), nn.ReLU()]
            width = channels
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width, len(STYLES))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pictures).mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def textures(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Gram matrices (n, windows, c, c) of the first three layers, over 4 by 4 windows of each picture."""
        found, values = [], pictures
        for depth, layer in enumerate(self.features[:9]):
            values = layer(values)
            if depth % 3 == 2:
                count, channels, side, _ = values.shape
                windows = values.unfold(2, side // 4, side // 4).unfold(3, side // 4, side // 4)
                flat = windows.permute(0, 2, 3, 1, 4, 5).reshape(count, 16, channels, -1)
                found.append(flat @ flat.transpose(2, 3) / flat.shape[-1])
        return found


def train_style_classifier(
    pool: Pool, checkpoint: Path, *, steps: int, seed: int, tell: Tell, device: str = "cpu"
) -> StyleClassifier:
    """Train a classifier of style on painted pictures: another architecture, loss and seed than the judge's."""
    torch.manual_seed(seed)
    network = StyleClassifier()

    def loss_of(step: int) -> torch.Tensor:
        generator = _generator(seed, step)
        chosen = torch.randint(len(pool.pictures), (96,), generator=generator).numpy()
        picture = _augment((to_tensor(pool.pictures[chosen]) + 1) / 2, generator) * 2 - 1
        wanted = torch.from_numpy(pool.styles[chosen]).to(device)
        return F.cross_entropy(network(picture.to(device)), wanted, label_smoothing=0.05)

    name = f"{checkpoint.stem} classifier"
    average = train(name, network, loss_of, steps=steps, rate=3e-3, checkpoint=checkpoint, tell=tell, decay=0.99, device=device)
    assert isinstance(average, StyleClassifier)
    return average.eval()
