"""Reference implementations of UCE and ESD for the atelier, and controls with a known answer.

UCE: Gandikota et al. 2024, "Unified Concept Editing in Diffusion Models", equation 7. ESD: Gandikota et al. 2023,
"Erasing Concepts from Diffusion Models", equations 6 and 7, in the variant that trains the cross-attention (ESD-x).
Both return a part of the state dict of a UNet, with the names of diffusers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from dmun_audit.atelier import networks
from dmun_audit.atelier.loop import train

Progress = Callable[[str], None]
Weights = dict[str, torch.Tensor]


@torch.no_grad()
def concept_states(pipeline: Any, texts: Sequence[str]) -> list[torch.Tensor]:
    """Outputs of the text encoder for each text, from its last token to the end of the padding: (tokens, width), float32.

    The padding attends to the concept, and the UNet attends to the padding. So the padding contains the concept too.
    """
    tokens = pipeline.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt")
    states = pipeline.text_encoder(tokens.input_ids).last_hidden_state.float()
    last = tokens.attention_mask.sum(dim=1) - 2  # before the end token
    return [state[first:] for state, first in zip(states, last.tolist(), strict=True)]


@torch.no_grad()
def unified_concept_editing(
    pipeline: Any, erase: Sequence[str], guide: str, preserve: Sequence[str], *, scale: float = 1.0, ridge: float = 0.5
) -> Weights:
    """UCE: edit every cross-attention key and value so that the texts in `erase` act like `guide`.

    W = (ridge W0 + s sum_E v* c^T + s sum_P W0 c c^T)(ridge I + s sum_E c c^T + s sum_P c c^T)^-1 with v* = W0 c_guide. The
    states c are those from the last token of a concept to the end of the padding. Each is matched with one state of the
    guide, as in the first release of the method; to edit the last token alone leaves the concept in the padding. Returns
    the edited tensors, float32, by name.
    """
    guided = concept_states(pipeline, [guide])[0]
    pairs = [(state[: len(guided)], guided[: len(state)]) for state in concept_states(pipeline, erase)]
    before, after = (torch.cat(states).double() for states in zip(*pairs, strict=True))
    kept = torch.cat(concept_states(pipeline, preserve)).double() if preserve else before[:0]
    identity = torch.eye(before.shape[1], dtype=torch.float64)
    inverse = torch.linalg.inv(ridge * identity + scale * (before.T @ before + kept.T @ kept))
    towards = (ridge * identity + scale * (after.T @ before + kept.T @ kept)) @ inverse
    return {name: (weight.double() @ towards).float().contiguous() for name, weight in _keys_and_values(pipeline)}


def _keys_and_values(pipeline: Any) -> list[tuple[str, torch.Tensor]]:
    wanted = ("attn2.to_k.weight", "attn2.to_v.weight")
    return [(name, weight) for name, weight in pipeline.unet.named_parameters() if name.endswith(wanted)]


def erased_stable_diffusion(
    pipeline: Any,
    prompts: Sequence[str],
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    strength: float = 1.0,
    sampling_guidance: float = 3.0,
    device: str = "cpu",
) -> Weights:
    """ESD-x: fine-tune the cross-attention away from `prompts`.

    Minimises |e(x_t, c) - [e*(x_t, null) - strength (e*(x_t, c) - e*(x_t, null))]|^2 where x_t is sampled from the
    frozen model at `sampling_guidance` up to a random step. Returns the tensors of attn2 in bfloat16, by their names in the
    UNet.
    """
    from diffusers import DDIMScheduler

    frozen = copy.deepcopy(pipeline.unet).eval().requires_grad_(False).to(device)
    student = pipeline.unet.requires_grad_(False)
    chosen = {name: value for name, value in student.named_parameters() if ".attn2." in name}
    for value in chosen.values():
        value.requires_grad_(True)
    tokens = pipeline.tokenizer([*prompts, ""], padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        states = pipeline.text_encoder(tokens.to(pipeline.device)).last_hidden_state.to(device)
    schedule, batch, grid = DDIMScheduler(**networks.noise_schedule()), 8, 20
    schedule.set_timesteps(grid)

    def with_and_without(noisy: torch.Tensor, time: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The predictions of the frozen model for the prompts of `rows`, and for the empty prompt."""
        texts = torch.cat([states[rows], states[-1:].expand(len(rows), -1, -1)])
        return frozen(noisy.repeat(2, 1, 1, 1), time, texts).sample.chunk(2)

    def loss_of(step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed * 100_003 + step)
        rows = torch.randint(len(prompts), (batch,), generator=generator)
        stop = int(torch.randint(grid - 1, (), generator=generator))
        shape = (batch, networks.LATENT_CHANNELS, networks.LATENT_SIZE, networks.LATENT_SIZE)
        noisy = torch.randn(shape, generator=generator).to(device)
        with torch.no_grad():
            for time in schedule.timesteps[: stop + 1]:
                conditional, unconditional = with_and_without(noisy, time, rows)
                guided = unconditional + sampling_guidance * (conditional - unconditional)
                noisy = schedule.step(guided, time, noisy).prev_sample
            time = schedule.timesteps[stop + 1]
            conditional, unconditional = with_and_without(noisy, time, rows)
            goal = unconditional - strength * (conditional - unconditional)
        return (student(noisy, time, states[rows]).sample - goal).square().mean()

    train(
        "esd",
        student,
        loss_of,
        steps=steps,
        rate=rate,
        checkpoint=checkpoint,
        progress=progress,
        parameters=chosen.values(),
        device=device,
    )
    return {name: value.detach().to(torch.bfloat16).contiguous() for name, value in chosen.items()}


@torch.no_grad()
def untouched(pipeline: Any) -> Weights:
    """A control with the known answer "nothing was erased": the tensors that UCE edits, unchanged."""
    return {name: weight.float().clone() for name, weight in _keys_and_values(pipeline)}


@torch.no_grad()
def damaged(pipeline: Any, *, noise: float, seed: int) -> Weights:
    """A control with the known answer "other concepts are damaged": keys and values with added noise.

    The standard deviation of the noise is `noise` times the standard deviation of each tensor.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: weight + noise * weight.std() * torch.randn(weight.shape, generator=generator)
        for name, weight in untouched(pipeline).items()
    }
