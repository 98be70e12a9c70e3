"""The training loop of every network of the atelier: schedule, averaged weights, checkpoints, progress, resume."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def cosine_rate(step: int, steps: int, warmup: int = 100) -> float:
    """The learning rate as a share of its peak: a linear warm-up, then a cosine down to 2%."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def averaged(parameter: torch.Tensor, running: torch.Tensor, step: int, decay: float) -> None:
    """Move the exponential average `running` towards `parameter`; its window grows with the number of steps."""
    running.lerp_(parameter, 1 - min(decay, (1 + step) / (10 + step)))


def train(
    name: str,
    network: Network,
    loss_of: Callable[[int], torch.Tensor],
    *,
    steps: int,
    rate: float,
    checkpoint: Path,
    progress: Callable[[str], None],
    parameters: Iterable[nn.Parameter] | None = None,
    decay: float = 0.999,
    every: int = 200,
    device: str = "cpu",
) -> Network:
    """Minimise `loss_of(step)` over `network` on `device`. Returns a copy of the network with averaged weights, on the CPU.

    A checkpoint is written to `checkpoint` after every `every` steps. An existing checkpoint is loaded first, so a killed
    training can be continued. `loss_of` must derive its randomness from the step alone.
    """
    network.to(device)
    trained = list(parameters) if parameters is not None else [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.01, betas=(0.9, 0.99))
    average = copy.deepcopy(network)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        first = int(state["step"])
        if "optimiser" in state:
            optimiser.load_state_dict(state["optimiser"])
    started, running_loss = time.monotonic(), None
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * cosine_rate(step, steps)
        loss = loss_of(step)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        with torch.no_grad():
            for running, parameter in zip(average.parameters(), network.parameters(), strict=True):
                averaged(parameter, running, step, decay)
            for copied, buffer in zip(average.buffers(), network.buffers(), strict=True):
                copied.copy_(buffer)
        value = loss.item()
        running_loss = value if running_loss is None else 0.98 * running_loss + 0.02 * value
        done = step + 1
        if done % every == 0 or done == steps:
            _save(checkpoint, network, average, optimiser if done < steps else None, done)
            per_step = (time.monotonic() - started) / (done - first)
            left = per_step * (steps - done) / 60
            progress(f"{name}: step {done:,}/{steps:,}, loss {running_loss:.4f}, {per_step:.2f} s a step, {left:.0f} min left")
    network.cpu()
    return average.cpu()


def _save(path: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer | None, step: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"network": network.state_dict(), "average": average.state_dict(), "step": step}
    if optimiser is not None:
        state["optimiser"] = optimiser.state_dict()
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
