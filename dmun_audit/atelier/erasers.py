"""Reference implementations of UCE and ESD for the atelier, and the controls whose answer is known.

UCE: Gandikota et al. 2024, "Unified Concept Editing in Diffusion Models", equation 7. ESD: Gandikota et al. 2023,
"Erasing Concepts from Diffusion Models", equations 6 and 7, in the variant that trains the cross-attention (ESD-x).
Both give a partial UNet state dict in diffusers naming.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dmun_audit.atelier import networks
from dmun_audit.atelier.loop import train

Tell = Callable[[str], None]
Weights = dict[str, torch.Tensor]


@torch.no_grad()
def concept_states(pipeline: Any, texts: Sequence[str]) -> torch.Tensor:
    """Text-encoder outputs at the last token of each text, shape (len(texts), width), float32."""
    tokens = pipeline.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt")
    states = pipeline.text_encoder(tokens.input_ids).last_hidden_state
    last = tokens.attention_mask.sum(dim=1) - 2  # before the end token
    return states[torch.arange(len(texts)), last].float()  # type: ignore[no-any-return]


@torch.no_grad()
def unified_concept_editing(
    pipeline: Any, erase: Sequence[str], guide: str, preserve: Sequence[str], *, scale: float = 1.0, ridge: float = 0.5
) -> Weights:
    """Edit every cross-attention key and value so that the texts in `erase` act like `guide`.

    W = (ridge W0 + s sum_E v* c^T + s sum_P W0 c c^T)(ridge I + s sum_E c c^T + s sum_P c c^T)^-1 with v* = W0 c_guide.
    Returns the edited tensors, float32, by their names in the UNet.
    """
    erased, guided = concept_states(pipeline, erase), concept_states(pipeline, [guide])
    kept = concept_states(pipeline, preserve) if preserve else erased[:0]
    gram = ridge * torch.eye(erased.shape[1]) + scale * (erased.T @ erased + kept.T @ kept)
    inverse = torch.linalg.inv(gram.double())
    edited = {}
    for name, weight in pipeline.unet.named_parameters():
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            before = weight.float()
            wanted = before @ guided.T
            right = ridge * before + scale * (wanted.expand(-1, len(erased)) @ erased + before @ kept.T @ kept)
            edited[name] = (right.double() @ inverse).float().contiguous()
    return edited


def erased_stable_diffusion(
    pipeline: Any,
    prompts: Sequence[str],
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    tell: Tell,
    strength: float = 1.0,
    sampling_guidance: float = 3.0,
) -> Weights:
    """Fine-tune the cross-attention away from `prompts` (ESD-x).

    Minimises |e(x_t, c) - [e*(x_t, null) - strength (e*(x_t, c) - e*(x_t, null))]|^2 with x_t sampled from the frozen model at
    `sampling_guidance` up to a random step. Returns the tensors of attn2 in bfloat16 by their names in the UNet.
    """
    from diffusers import DDIMScheduler

    frozen = copy.deepcopy(pipeline.unet).eval().requires_grad_(False)
    student = pipeline.unet.requires_grad_(False)
    chosen = {name: value for name, value in student.named_parameters() if ".attn2." in name}
    for value in chosen.values():
        value.requires_grad_(True)
    tokens = pipeline.tokenizer([*prompts, ""], padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        states = pipeline.text_encoder(tokens).last_hidden_state
    schedule, batch, grid = DDIMScheduler(**networks.noise_schedule()), 8, 20
    schedule.set_timesteps(grid)

    def predict(unet: nn.Module, noisy: torch.Tensor, time: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return unet(noisy, time, states[rows]).sample  # type: ignore[no-any-return]

    def loss_of(step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed * 100_003 + step)
        rows = torch.randint(len(prompts), (batch,), generator=generator)
        empty = torch.full_like(rows, len(prompts))
        stop = int(torch.randint(grid - 1, (), generator=generator))
        shape = (batch, networks.LATENT_CHANNELS, networks.LATENT_SIZE, networks.LATENT_SIZE)
        noisy = torch.randn(shape, generator=generator)
        with torch.no_grad():
            for time in schedule.timesteps[: stop + 1]:
                with_text, without = predict(frozen, noisy, time, rows), predict(frozen, noisy, time, empty)
                guided = without + sampling_guidance * (with_text - without)
                noisy = schedule.step(guided, time, noisy).prev_sample
            time = schedule.timesteps[stop + 1]
            with_text, without = predict(frozen, noisy, time, rows), predict(frozen, noisy, time, empty)
            goal = without - strength * (with_text - without)
        return (predict(student, noisy, time, rows) - goal).square().mean()

    train("esd", student, loss_of, steps=steps, rate=rate, checkpoint=checkpoint, tell=tell, parameters=chosen.values())
    return {name: value.detach().to(torch.bfloat16).contiguous() for name, value in chosen.items()}


@torch.no_grad()
def untouched(pipeline: Any) -> Weights:
    """The known answer "nothing was erased": the tensors that UCE edits, as they are."""
    return {
        name: weight.float().clone()
        for name, weight in pipeline.unet.named_parameters()
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
    }


@torch.no_grad()
def damaged(pipeline: Any, *, noise: float, seed: int) -> Weights:
    """The known answer "the neighbours are ruined": keys and values with noise of `noise` times their own deviation."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: weight + noise * weight.std() * torch.randn(weight.shape, generator=generator)
        for name, weight in untouched(pipeline).items()
    }
