"""AdvUnlearn: Zhang et al. 2024, "Defensive Unlearning with Adversarial Training for Robust Concept Erasure in Diffusion
Models" (arXiv 2405.15234), §4."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from dmun_audit.atelier.erasers.pictures import Pictures
from dmun_audit.atelier.erasers.prefixes import adversarial_prefix, prefixed_states
from dmun_audit.atelier.erasers.states import Progress, Weights, tokens_of
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.tensors import step_generator

PREFIX = "text_model."  # of the published files; some versions of transformers leave it out


def adversarial_unlearning(
    pipeline: Any,
    forgotten: Pictures,
    kept: Pictures,
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    strength: float = 1.0,
    retain: float = 1.0,
    attack: int = 2,
    words: int = 2,
    batch: int = 6,
) -> Weights:
    """AdvUnlearn: train the text encoder to erase the prompts of `forgotten` behind the worst words in front of them.

    The inner problem finds `words` word vectors d in front of a prompt c, in `attack` steps, that make
    |e(x_t, d + c) - e*(x_t, c)|^2 small: they bring the concept back. The outer problem minimises
    |e(x_t, d + c) - [e*(x_t, null) - strength (e*(x_t, c) - e*(x_t, null))]|^2 + retain |e(y_t, r) - e*(y_t, r)|^2 where r are
    the prompts of `kept`. e* reads the prompts with the text encoder before training. Every other step has no words d.
    Returns the text encoder, float16, by name with the prefix `text_model.`.
    """
    unet = pipeline.unet.eval().requires_grad_(False)
    encoder = copy.deepcopy(pipeline.text_encoder).eval().requires_grad_(True)
    tokens, others = tokens_of(pipeline, forgotten.prompts), tokens_of(pipeline, kept.prompts)

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        rows, noisy, time = forgotten.partly_denoised(batch, generator)
        further, elsewhere, later = kept.partly_denoised(batch, generator)
        with torch.no_grad():
            times = torch.cat([time.expand(2 * batch), later.expand(batch)])
            texts = torch.cat([forgotten.states[rows], forgotten.empty.expand(batch, -1, -1), kept.states[further]])
            of_concept, of_nothing, of_kept = unet(torch.cat([noisy, noisy, elsewhere]), times, texts).sample.chunk(3)
            goal = of_nothing - strength * (of_concept - of_nothing)

        def distance(prefix: torch.Tensor) -> torch.Tensor:
            states = prefixed_states(encoder, tokens[rows], prefix)
            return (unet(noisy, time, states).sample - of_concept).square().mean()

        count = words if step % 2 == 0 else 0
        prefix = adversarial_prefix(encoder, distance, rows=batch, count=count, steps=attack if count else 0, generator=generator)
        states = torch.cat([prefixed_states(encoder, tokens[rows], prefix), encoder(others[further]).last_hidden_state])
        both = unet(torch.cat([noisy, elsewhere]), torch.cat([time.expand(batch), later.expand(batch)]), states).sample
        ours, beside = both.chunk(2)
        return (ours - goal).square().mean() + retain * (beside - of_kept).square().mean()

    train("advunlearn", encoder, loss_of, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress)
    named = {PREFIX + name.removeprefix(PREFIX): value for name, value in encoder.state_dict().items()}
    return {name: value.half().contiguous() for name, value in named.items() if value.is_floating_point()}
