"""The loop of every attack that follows gradients: steps, losses, checkpoints, resume."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from dmun_audit.store.files import write_atomically

CHECKPOINT_EVERY = 50  # steps
LOSSES = 8  # means of the loss that a find keeps

Variables = Mapping[str, torch.Tensor]


def optimise(
    variables: Variables,
    loss_of: Callable[[int], torch.Tensor],
    optimiser: torch.optim.Optimizer,
    *,
    steps: int,
    checkpoint: Path,
    on_step: Callable[[], None] = lambda: None,
    keep: Collection[int] = (),
    project: Callable[[], None] = lambda: None,
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Minimise `loss_of(step)` over `variables`, leaves that require gradients, with an optimiser of them.

    `loss_of` must draw its randomness from the step alone: an attack that was stopped goes on from `checkpoint` as if it never had been.
    `project` is called after each step and may write into the variables. `on_step` counts.

    Returns copies of the variables: NAME@STEP after each step of `keep`, and NAME after the last one; and the means of the loss over
    equal parts of the steps, in order.
    """
    kept: dict[str, torch.Tensor] = {}
    losses: list[float] = []
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        losses, kept = state["losses"], state["kept"]
        optimiser.load_state_dict(state["optimiser"])
        with torch.no_grad():
            for name, variable in variables.items():
                variable.copy_(state["variables"][name])
    leaves = list(variables.values())
    for step in range(len(losses), steps):
        loss = loss_of(step)
        for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
            leaf.grad = gradient
        optimiser.step()
        project()
        losses.append(float(loss.detach()))
        on_step()
        if step + 1 in keep:
            kept |= {f"{name}@{step + 1}": _copy(variable) for name, variable in variables.items()}
        if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < steps:
            _save(checkpoint, variables, optimiser, losses, kept)
    return kept | {name: _copy(variable) for name, variable in variables.items()}, means(losses)


def means(losses: list[float], parts: int = LOSSES) -> list[float]:
    """The means over up to `parts` equal parts of a list, in order."""
    parts = min(parts, len(losses))
    ends = [round(place * len(losses) / parts) for place in range(parts + 1)] if parts else []
    return [sum(losses[one:other]) / (other - one) for one, other in itertools.pairwise(ends)]


def _copy(variable: torch.Tensor) -> torch.Tensor:
    return variable.detach().cpu().clone()


def _save(
    path: Path, variables: Variables, optimiser: torch.optim.Optimizer, losses: list[float], kept: dict[str, torch.Tensor]
) -> None:
    import io

    state: dict[str, Any] = {
        "variables": {name: _copy(variable) for name, variable in variables.items()},
        "optimiser": optimiser.state_dict(),
        "losses": losses,
        "kept": kept,
    }
    stream = io.BytesIO()
    torch.save(state, stream)
    write_atomically(path, stream.getvalue())
