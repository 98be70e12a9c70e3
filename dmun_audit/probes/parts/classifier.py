"""A small classifier of noised latents, and the guidance of denoising by its gradient (Dhariwal and Nichol 2021, arXiv 2105.05233)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from dmun_audit.probes.parts.network import Network, Predictor

WIDTH = 64  # channels
DEPTH = 3  # convolutions


class NoisyClassifier(nn.Module):
    """Tells latents with one thing from others, at every level of noise: latents (n, channels, height, width) to logits (n,).

    `kept` (n,) is the share of the signal that is left in them. A logit is a mean over places, so that latents may have any size.
    """

    def __init__(self, channels: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            widths = [channels] + [WIDTH] * DEPTH
            self.layers = nn.ModuleList(nn.Conv2d(widths[place], WIDTH, 3, padding=1) for place in range(DEPTH))
            self.levels = nn.ModuleList(nn.Linear(2, 2 * WIDTH) for _ in range(DEPTH))
            self.head = nn.Linear(WIDTH, 1)

    def forward(self, latents: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        level = torch.stack([kept.sqrt(), (1 - kept).sqrt()], dim=-1)
        values = latents
        for layer, of_level in zip(self.layers, self.levels, strict=True):
            scale, shift = of_level(level)[..., None, None].chunk(2, dim=1)
            values = F.silu(layer(values) * (1 + scale) + shift)
        logits: torch.Tensor = self.head(values.mean(dim=(2, 3)))[:, 0]
        return logits


def restored(tensors: Mapping[str, torch.Tensor], device: str) -> NoisyClassifier:
    """The classifier with these weights."""
    classifier = NoisyClassifier(tensors["layers.0.weight"].shape[1])
    classifier.load_state_dict(dict(tensors))
    return classifier.to(device).requires_grad_(False)


def pull(classifier: NoisyClassifier, latents: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The gradient of the log-probability of the thing by noised latents, for each image alone."""
    with torch.enable_grad():
        leaf = latents.detach().float().requires_grad_(True)
        likely = F.logsigmoid(classifier(leaf, kept.expand(len(leaf))))
        return torch.autograd.grad(likely.sum(), leaf)[0]


def pulled(predictor: Predictor, network: Network, classifier: NoisyClassifier, scale: float) -> Predictor:
    """The predictions of a network, moved by a classifier towards its thing. A scale of 1 follows Bayes' rule."""
    is_noise = network.pipeline.scheduler.config.get("prediction_type", "epsilon") == "epsilon"

    def moved(latents: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        kept = network.kept[time.round().long()]
        by = scale * (1 - kept).sqrt() * pull(classifier, latents, kept)
        predicted = predictor(latents, time)
        return predicted - (by if is_noise else by / kept.sqrt()).to(predicted.dtype)

    return moved
