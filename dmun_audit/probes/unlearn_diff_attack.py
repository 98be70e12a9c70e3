"""UnlearnDiffAtk: a few words in front of the prompt, with which the candidate denoises the base's picture best.

Each token has a distribution over the vocabulary. Its most likely word is used, and gradients pass through to the distribution.
The candidate predicts the noise of the base's noised image of the same prompt and seed, and the distributions minimise its error
(Zhang et al. 2023, arXiv 2310.11868, section 4). Published: 40 steps at each of 50 noise levels, and a picture after each level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit._util.hashing import seed_of
from dmun_audit.plan.case import ImageRequest, Recipe, Side
from dmun_audit.probes.parts.token_attack import (
    TokenAttack,
    allowed_ids,
    base_latents,
    conditions_with,
    errors,
    noise_of,
    on_simplex,
    passed_through,
    readable,
)
from dmun_audit.probes.probe import Attack, Dose, Effort

if TYPE_CHECKING:
    import torch

    from dmun_audit.probes.parts.bench import Bench


@dataclass(frozen=True)
class Figures:
    """`times` are the noise levels in their order, with so many `steps` at each. `decay` is the decay of the distributions."""

    times: tuple[int, ...]
    steps: int
    rate: float
    decay: float


FIGURES: dict[Effort, Figures] = {
    "small": Figures((100, 300, 500, 700, 900), 25, rate=5e-2, decay=0.1),
    "published": Figures(tuple(range(10, 1000, 20)), 40, rate=1e-2, decay=0.1),
}


SHORT = frozenset({"style", "object"})
"""Kinds of targets for which fewer tokens are searched."""


class UnlearnDiffAttack(TokenAttack):
    """See the module. The find of each noise level goes on from the find of the level before."""

    name = "unlearn-diff-attack"
    order = 52
    title = "Words in front of the prompt, searched by the error of denoising"
    explanation = (
        "Somebody searches a few words that stand before the prompt. With them, the candidate removes noise from the original "
        "model's picture as well as it can. If such words bring the target back, the weights still know it."
    )
    source = "Zhang et al. 2023, arXiv 2310.11868, section 4"
    figures_by_effort = FIGURES

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: the noise levels, one after the other."""
        figures = FIGURES[effort]
        settings = {"steps": figures.steps}
        return tuple(
            Dose(f"noise level {time}", settings | {"time": time}, figures.steps * (place + 1))
            for place, time in enumerate(figures.times)
        )

    def recipe(self, attack: Attack, dose: Dose, row: Sequence[ImageRequest]) -> Recipe:
        """See `Probe.recipe`: three tokens for styles and objects, five for all else."""
        tokens = 3 if attack.kind in SHORT else 5
        return super().recipe(attack, replace(dose, settings={**dose.settings, "tokens": tokens}), row)

    def written(self, recipe: Recipe, prompt: str, word: str) -> str:
        """See `TokenAttack.written`: the tokens stand before the prompt."""
        return " ".join([word] * recipe.setting("tokens") + [prompt])

    def search(self, bench: Bench, side: Side, recipe: Recipe, checkpoint: Path) -> tuple[dict[str, torch.Tensor], list[float]]:
        """See `TokenAttack.search`: the ids, and the shares that are not 0 with their places. The next noise level begins with them."""
        import torch

        from dmun_audit.probes.parts.search import optimise
        from dmun_audit.probes.parts.tokens import embeddings

        figures, time = FIGURES[recipe.setting("effort")], recipe.setting("time")
        network, units = bench.network(side), recipe.units
        texts = self.marked(network, recipe, [unit.prompt for unit in units])
        clean = base_latents(bench, network, units)
        times = torch.full((len(units),), time, device=clean.device)
        allowed = allowed_ids(network)
        matrices = [matrix[allowed] for matrix in embeddings(network)]
        shares = self._start(bench, side, recipe, len(allowed)).to(clean.device).requires_grad_(True)

        def loss_of(step: int) -> torch.Tensor:
            likeliest = shares.detach().argmax(dim=-1)
            network.follow(readable(network, texts, allowed[likeliest]))
            vectors = [passed_through(matrix[likeliest], shares @ matrix).flatten(0, 1) for matrix in matrices]
            noise = noise_of(network, units, self.name, time, step)
            predicted = network.predict(network.noised(clean, noise, times), times, conditions_with(network, texts, vectors))
            return errors(predicted, network.goal(clean, noise, times)).sum()

        def project() -> None:
            shares.data = on_simplex(shares.data)

        optimiser = torch.optim.Adam([shares], lr=figures.rate, weight_decay=figures.decay)
        found, losses = optimise(
            {"shares": shares},
            loss_of,
            optimiser,
            steps=recipe.setting("steps"),
            checkpoint=checkpoint,
            on_step=bench.stepped,
            project=project,
        )
        ids = allowed.cpu()[found["shares"].argmax(dim=-1)]
        places = found["shares"].flatten().nonzero()[:, 0]  # most shares are 0
        kept = {"places": places.int(), "shares": found["shares"].flatten()[places]}
        return {"ids": ids, **kept}, [loss / len(units) for loss in losses]

    def _start(self, bench: Bench, side: Side, recipe: Recipe, words: int) -> torch.Tensor:
        """The distributions (units, tokens, words) with which a search begins: those of the level before, or random ones."""
        import torch

        times = FIGURES[recipe.setting("effort")].times
        place, shape = times.index(recipe.setting("time")), (recipe.setting("tokens"), words)
        if place:
            settings = dict(recipe.settings) | {"time": times[place - 1]}
            before = self.find(bench, side, replace(recipe, settings=tuple(settings.items())))
            assert before is not None
            shares = torch.zeros(len(recipe.units) * shape[0] * words)
            shares[before.tensors["places"].long()] = before.tensors["shares"]
            return shares.reshape(-1, *shape)
        generators = [torch.Generator().manual_seed(seed_of(self.name, unit.prompt, unit.seed)) for unit in recipe.units]
        draws = torch.stack([torch.rand(shape, generator=generator) for generator in generators])
        return draws / draws.sum(dim=-1, keepdim=True)


PROBE = UnlearnDiffAttack()
