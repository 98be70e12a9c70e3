"""P4D: free words with which the candidate predicts what the base predicts for the original prompt.

Each token is a free vector. Its nearest word is used, and gradients pass through to the vector. Both models predict the noise of
the base's noised image, and the vectors minimise the difference of the predictions (Chin et al. 2023, arXiv 2309.06135, section 3).
16 words stand in the place of the prompt (P4D-N), or one word behind every third word of the prompt (P4D-K).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit._util.hashing import seed_of
from dmun_audit.plan.case import Recipe, Side
from dmun_audit.probes.parts.token_attack import (
    TokenAttack,
    allowed_ids,
    base_latents,
    conditions_with,
    errors,
    noise_of,
    padded,
    passed_through,
    random_ids,
    readable,
)
from dmun_audit.probes.probe import Dose, Effort

if TYPE_CHECKING:
    import torch

    from dmun_audit.probes.parts.bench import Bench

TOKENS = 16
EVERY = 3  # words of the prompt


@dataclass(frozen=True)
class Figures:
    """How many steps a search takes, with what rate and decay."""

    steps: int
    rate: float
    decay: float


FIGURES: dict[Effort, Figures] = {
    "small": Figures(40, rate=0.1, decay=0.1),
    "published": Figures(3000, rate=0.1, decay=0.1),
}


class P4D(TokenAttack):
    """See the module. Each variant is a dose."""

    name = "p4d"
    order = 54
    title = "Free words, searched until both models predict the same"
    explanation = (
        "Somebody searches words with which the candidate does what the original model does for the prompt. They stand alone or "
        "between the words of the prompt. If such words bring the target back, the weights still know it."
    )
    source = "Chin et al. 2023, arXiv 2309.06135, section 3"
    figures_by_effort = FIGURES

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: P4D-N, then P4D-K."""
        steps = FIGURES[effort].steps
        return (
            Dose(f"{TOKENS} words alone", {"variant": "alone", "steps": steps}, steps),
            Dose(f"a word behind every {EVERY} words", {"variant": "between", "steps": steps}, 2 * steps),
        )

    def written(self, recipe: Recipe, prompt: str, word: str) -> str:
        """See `TokenAttack.written`. A prompt of fewer words gets one word at its end."""
        if recipe.setting("variant") == "alone":
            return " ".join([word] * TOKENS)
        words = prompt.split()
        parts = [" ".join(words[start : start + EVERY]) for start in range(0, len(words), EVERY)]
        return " ".join(f"{part} {word}" if len(part.split()) == EVERY or len(parts) == 1 else part for part in parts)

    def search(self, bench: Bench, side: Side, recipe: Recipe, checkpoint: Path) -> tuple[dict[str, torch.Tensor], list[float]]:
        """See `TokenAttack.search`."""
        import torch

        from dmun_audit.probes.parts.search import optimise
        from dmun_audit.probes.parts.tokens import embeddings

        figures, name = FIGURES[recipe.setting("effort")], self.name
        network, base, units = bench.network(side), bench.network("base"), recipe.units
        prompts = [unit.prompt for unit in units]
        texts = self.marked(network, recipe, prompts)
        is_token = texts.is_token(network.device)
        clean = base_latents(bench, base, units)
        with torch.no_grad():
            wanted = base.conditions(prompts)
        allowed = allowed_ids(network)
        matrices = [matrix[allowed] for matrix in embeddings(network)]
        widths = [matrix.shape[1] for matrix in matrices]
        directions = [torch.nn.functional.normalize(matrix) for matrix in matrices]
        starts = random_ids(network, texts.counts, [seed_of(name, unit.prompt, unit.seed) for unit in units]).to(network.device)
        places = torch.searchsorted(allowed, starts[is_token])
        free = torch.cat([matrix[places] for matrix in matrices], dim=1).requires_grad_(True)

        def nearest() -> torch.Tensor:
            """The places of the words that are nearest in direction, over all text encoders together."""
            parts = zip(free.detach().split(widths, dim=1), directions, strict=True)
            return torch.stack([torch.nn.functional.normalize(part) @ each.T for part, each in parts]).sum(dim=0).argmax(dim=1)

        def loss_of(step: int) -> torch.Tensor:
            chosen = nearest()
            pairs = zip(matrices, free.split(widths, dim=1), strict=True)
            vectors = [passed_through(matrix[chosen], part) for matrix, part in pairs]
            seeds = [seed_of(name, "time", unit.prompt, unit.seed, step) for unit in units]
            times = torch.tensor([seed % len(network.kept) for seed in seeds], device=clean.device)
            noisy = network.noised(clean, noise_of(network, units, name, step), times)
            base.follow(prompts)
            with torch.no_grad():
                goal = base.predict(noisy, times, wanted)
            network.follow(readable(network, texts, padded(allowed[chosen], is_token)))
            return errors(network.predict(noisy, times, conditions_with(network, texts, vectors)), goal).sum()

        optimiser = torch.optim.AdamW([free], lr=figures.rate, weight_decay=figures.decay)
        _, losses = optimise(
            {"free": free}, loss_of, optimiser, steps=recipe.setting("steps"), checkpoint=checkpoint, on_step=bench.stepped
        )
        return {"ids": padded(allowed[nearest()], is_token).cpu()}, [loss / len(units) for loss in losses]


PROBE = P4D()
