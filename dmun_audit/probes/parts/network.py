"""The networks of one Stable Diffusion pipeline, as attacks use them: encode a prompt, predict noise, decode latents.

Works for Stable Diffusion 1, 2 and XL. Nothing here changes a weight.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from dmun_audit.models.loaded import LoadedModel


@dataclass(frozen=True)
class Conditions:
    """What the UNet knows of a batch of prompts: `states` (n, tokens, width), and for SDXL `further` conditions."""

    states: torch.Tensor
    further: dict[str, torch.Tensor]

    def arguments(self) -> dict[str, Any]:
        """The arguments of the UNet."""
        return {"encoder_hidden_states": self.states} | ({"added_cond_kwargs": self.further} if self.further else {})

    def joined(self, other: Conditions) -> Conditions:
        """Both batches, this one first."""
        further = {name: torch.cat([value, other.further[name]]) for name, value in self.further.items()}
        return Conditions(torch.cat([self.states, other.states]), further)

    def rows(self, places: Sequence[int]) -> Conditions:
        """The conditions of some prompts."""
        chosen = torch.as_tensor(list(places), device=self.states.device)
        return Conditions(self.states[chosen], {name: value[chosen] for name, value in self.further.items()})


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator of the CPU for each seed: a batch needs one for each image, so that an image does not depend on its batch."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


class Network:
    """One loaded model. `size` is (height, width) of its images in pixels."""

    def __init__(self, model: LoadedModel, device: str, size: tuple[int, int], negative: str = "") -> None:
        self.model = model
        self.pipeline = model.pipeline
        self.device = device
        self.size = size
        self._negative = negative
        for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
            network = getattr(self.pipeline, name, None)
            if network is not None:
                network.requires_grad_(False)  # gradients are taken of what an attack searches

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the UNet."""
        dtype: torch.dtype = self.pipeline.unet.dtype
        return dtype

    @property
    def kept(self) -> torch.Tensor:
        """The share of the signal that is left after each of the training's noise steps: (steps,), float32."""
        kept: torch.Tensor = self.pipeline.scheduler.alphas_cumprod.to(self.device)
        return kept

    # Text.

    def tokenizers(self) -> list[tuple[Any, Any]]:
        """The tokenizers, each with its text encoder: two for SDXL."""
        pairs = [
            (getattr(self.pipeline, f"tokenizer{end}", None), getattr(self.pipeline, f"text_encoder{end}", None))
            for end in ("", "_2")
        ]
        return [pair for pair in pairs if pair[0] is not None and pair[1] is not None]

    def conditions(self, prompts: Sequence[str]) -> Conditions:
        """The conditions of prompts. Gradients flow through them to the tokens that `injected` puts into the text encoders."""
        states, _, pooled, _ = self._encoded(prompts, guided=False)
        return self._conditions(states, pooled)

    def both(self, prompts: Sequence[str]) -> tuple[Conditions, Conditions]:
        """The conditions of prompts and of the negative prompt, for classifier-free guidance."""
        states, negative, pooled, negative_pooled = self._encoded(prompts, guided=True)
        return self._conditions(states, pooled), self._conditions(negative, negative_pooled)

    def _encoded(self, prompts: Sequence[str], *, guided: bool) -> tuple[Any, Any, Any, Any]:
        """States and pooled states of prompts and of the negative prompt; None for what there is not."""
        encoded = self.pipeline.encode_prompt(
            prompt=list(prompts),
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            **({"negative_prompt": [self._negative] * len(prompts)} if self._negative and guided else {}),
        )
        return (*encoded, None, None) if len(encoded) == 2 else encoded

    def _conditions(self, states: torch.Tensor, pooled: torch.Tensor | None) -> Conditions:
        if pooled is None:
            return Conditions(states, {})
        times = self.pipeline._get_add_time_ids(
            self.size,
            (0, 0),
            self.size,
            dtype=states.dtype,
            text_encoder_projection_dim=self.pipeline.text_encoder_2.config.projection_dim,
        )
        return Conditions(states, {"text_embeds": pooled, "time_ids": times.to(self.device).repeat(len(states), 1)})

    def follow(self, prompts: Sequence[str]) -> None:
        """Let an adapter of the model follow these prompts, if it has one that does."""
        if self.model.set_prompts is not None:
            self.model.set_prompts(prompts)

    @cached_property
    def _autoencoder(self) -> Any:
        """The autoencoder, in float32 where it does not work in float16: SDXL's gives black images then."""
        vae = self.pipeline.vae
        needs_more = vae.dtype == torch.float16 and vae.config.get("force_upcast", False)
        return copy.deepcopy(vae).float() if needs_more else vae

    # Latents.

    def noise(self, seeds: Sequence[int]) -> torch.Tensor:
        """Standard normal latents (n, channels, height, width), one for each seed, as the pipeline draws them."""
        return self.noise_from(generators(seeds))

    def noise_from(self, sources: Sequence[torch.Generator]) -> torch.Tensor:
        """Standard normal latents (n, channels, height, width), one from each generator of the CPU."""
        scale = self.pipeline.vae_scale_factor
        shape = (1, self.pipeline.unet.config.in_channels, self.size[0] // scale, self.size[1] // scale)
        return torch.cat([torch.randn(shape, generator=source, dtype=self.dtype) for source in sources]).to(self.device)

    @torch.no_grad()
    def encode(self, images: np.ndarray) -> torch.Tensor:
        """The latents of images (n, height, width, 3) uint8: the mean of the encoder's distribution, scaled."""
        vae = self._autoencoder
        pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(self.device, vae.dtype) / 127.5 - 1
        latents = vae.encode(pixels).latent_dist.mean
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        return ((latents - shift) * vae.config.scaling_factor).to(self.dtype)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """The images (n, height, width, 3) uint8 of latents."""
        vae = self._autoencoder
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        pixels = vae.decode((latents / vae.config.scaling_factor + shift).to(vae.dtype), return_dict=False)[0]
        levels = ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return np.asarray(levels.permute(0, 2, 3, 1).cpu().numpy())

    # Denoising.

    def predict(self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """What the UNet predicts for noisy latents (n, …) at their times (n,), without guidance."""
        predicted: torch.Tensor = self.pipeline.unet(latents, times, **conditions.arguments(), return_dict=False)[0]
        return predicted

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Latents with the noise of their times (n,)."""
        kept = self.kept[times].to(latents.dtype)[:, None, None, None]
        return kept.sqrt() * latents + (1 - kept).sqrt() * noise

    def goal(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """What a perfect UNet predicts for these noised latents: the noise, or the velocity."""
        if self.pipeline.scheduler.config.get("prediction_type", "epsilon") == "epsilon":
            return noise
        kept = self.kept[times].to(latents.dtype)[:, None, None, None]
        return kept.sqrt() * noise - (1 - kept).sqrt() * latents

    def error(
        self, clean: torch.Tensor, batch: int, generator: torch.Generator, conditions_of: Callable[[list[int]], Conditions]
    ) -> torch.Tensor:
        """The mean squared error of the UNet on `batch` random ones of clean latents (n, …), under random noise at random times.

        `conditions_of` gives the conditions of the chosen places. All randomness comes from `generator`.
        """
        chosen = torch.randint(len(clean), (batch,), generator=generator).tolist()
        noise = torch.randn((batch, *clean.shape[1:]), generator=generator).to(clean)
        times = torch.randint(len(self.kept), (batch,), generator=generator).to(clean.device)
        predicted = self.predict(self.noised(clean[chosen], noise, times), times, conditions_of(chosen))
        return (predicted.float() - self.goal(clean[chosen], noise, times).float()).square().mean()

    def guided(self, prompts: Sequence[str], guidance: float) -> Guided:
        """Its predictions for prompts under classifier-free guidance, for a batch of one image of each prompt."""
        positive, negative = self.both(prompts)
        return Guided(self, tuple(prompts), positive, negative, guidance)


@dataclass(frozen=True)
class Guided:
    """The predictions of one network for a batch of prompts: call it with latents (n, …) and a time."""

    network: Network
    prompts: tuple[str, ...]
    positive: Conditions
    negative: Conditions
    guidance: float

    def __call__(self, latents: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The guided prediction, as the pipelines of diffusers compute it: both halves in one batch, the negative one first."""
        self.network.follow(self.prompts)
        if self.guidance <= 1:
            return self.network.predict(latents, time, self.positive)
        both = self.network.predict(torch.cat([latents, latents]), time, self.negative.joined(self.positive))
        without, with_prompt = both.chunk(2)
        return without + self.guidance * (with_prompt - without)


Predictor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Latents and a time in, a prediction out; such as `Guided`."""


@torch.no_grad()
def denoise(
    predictor: Callable[[int], Predictor],
    scheduler: Any,
    latents: torch.Tensor,
    steps: int,
    start: int = 0,
    after: Callable[[int, torch.Tensor], torch.Tensor] = lambda place, latents: latents,
    **further: Any,
) -> torch.Tensor:
    """Denoise latents with a scheduler of diffusers. `predictor(i)` predicts at step i.

    `latents` are the scheduler's own latents at step `start`: at step 0, standard normal noise times its `init_noise_sigma`.
    `after(i, latents)` gets the latents after step i and may change them. `further` are arguments of the scheduler's step, such as a
    generator.
    """
    scheduler.set_timesteps(steps, device=latents.device)
    if start and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    for place, time in enumerate(scheduler.timesteps):
        if place < start:
            continue
        predicted = predictor(place)(scheduler.scale_model_input(latents, time), time)
        latents = after(place, scheduler.step(predicted, time, latents, **further, return_dict=False)[0])
    return latents
