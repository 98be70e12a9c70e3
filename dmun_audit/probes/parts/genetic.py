"""A genetic search over sequences of tokens: it crosses and mutates sequences, and the nearest to a goal stay."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit._util.hashing import seed_of
from dmun_audit.store.files import write_atomically

if TYPE_CHECKING:
    import torch

CHECKPOINT_EVERY = 25  # generations


@dataclass(frozen=True)
class Figures:
    """How the search goes: `crossover` is the share of the population that has children, `mutation` that of children that change."""

    generations: int
    population: int
    mutation: float
    crossover: float


def evolve(
    allowed: torch.Tensor,
    tokens: int,
    goals: torch.Tensor,
    distances: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    seeds: Sequence[int],
    figures: Figures,
    checkpoint: Path,
) -> tuple[torch.Tensor, list[float]]:
    """Search for each of the `goals` (n, …) the nearest sequence of `tokens` ids out of `allowed`, each goal with its own seed.

    `distances` gives the distances (m,) of sequences (m, tokens) from one goal. A stopped search goes on from `checkpoint`.

    Returns the ids (n, tokens), and the mean of the smallest distances at the start and after each generation.
    """
    import torch

    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=allowed.device)
        populations, far, best = state["populations"], state["far"], state["best"]
    else:
        populations = torch.stack([_drawn(allowed, (figures.population, tokens), _generator(seed, 0)) for seed in seeds])
        far = torch.stack([distances(each, goal) for each, goal in zip(populations, goals, strict=True)])
        best = [float(far.min(dim=1).values.mean())]
    for generation in range(len(best), figures.generations + 1):
        for place, (seed, goal) in enumerate(zip(seeds, goals, strict=True)):
            children = _children(populations[place], far[place], allowed, figures, _generator(seed, generation))
            everybody = torch.cat([populations[place], children])
            everybody_far = torch.cat([far[place], distances(children, goal)])
            nearest = everybody_far.argsort(stable=True)[: figures.population]
            populations[place], far[place] = everybody[nearest], everybody_far[nearest]
        best.append(float(far.min(dim=1).values.mean()))
        if generation % CHECKPOINT_EVERY == 0 and generation < figures.generations:
            stream = io.BytesIO()
            torch.save({"populations": populations, "far": far, "best": best}, stream)
            write_atomically(checkpoint, stream.getvalue())
    nearest = far.argmin(dim=1)
    return populations[torch.arange(len(seeds), device=nearest.device), nearest], best


def _children(
    population: torch.Tensor, far: torch.Tensor, allowed: torch.Tensor, figures: Figures, generator: torch.Generator
) -> torch.Tensor:
    """Each of the nearest sequences is cut and crossed with another one of them. Some children get a random token at one place."""
    import torch

    count, tokens = round(figures.crossover * len(population)), population.shape[1]
    parents = population[far.argsort(stable=True)[:count]]
    others = parents[torch.randint(count, (count,), generator=generator).to(parents.device)]
    cuts = torch.randint(1, tokens, (count, 1), generator=generator)
    changed = torch.randint(tokens, (count, 1), generator=generator)
    changed[torch.rand((count, 1), generator=generator) >= figures.mutation] = -1
    places = torch.arange(tokens)
    crossed = torch.where((places < cuts).to(parents.device), parents, others)
    return torch.where((places == changed).to(parents.device), _drawn(allowed, (count, tokens), generator), crossed)


def _drawn(allowed: torch.Tensor, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    import torch

    return allowed[torch.randint(len(allowed), shape, generator=generator).to(allowed.device)]


def _generator(*parts: int) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed_of(*parts))
