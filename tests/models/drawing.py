"""Draws with a pipeline, always the same way, so that images can be compared bit for bit."""

from __future__ import annotations

import torch

PROMPTS = ["a b", "c d a", "d"]


def draw(pipeline, prompts=PROMPTS, set_prompts=None):
    """Three images in one batch, two steps with guidance."""
    if set_prompts is not None:
        set_prompts(prompts)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in range(len(prompts))]
    with torch.inference_mode():
        output = pipeline(
            prompts, num_inference_steps=2, guidance_scale=5.0, height=8, width=8, generator=generators, output_type="np"
        )
    return output.images


def edit_network(network, part=""):
    """New numbers for the tensors whose names hold `part`; returns them."""
    generator = torch.Generator().manual_seed(5)
    state = network.state_dict()
    chosen = {name: tensor for name, tensor in state.items() if part in name}
    for tensor in chosen.values():
        tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.2)
    return {name: tensor.clone() for name, tensor in chosen.items()}
