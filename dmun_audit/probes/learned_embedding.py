"""A learned embedding (CCE): textual inversion on the candidate with base images of the target.

One new word is learned: its embedding minimises the candidate's error of noise prediction on the images (Pham et al. 2024, arXiv
2308.01508, section 3, "concept inversion"). A word can teach any model something, so what counts is success beyond the control, by
steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.hashing import seed_of
from dmun_audit.plan.case import Recipe, Side
from dmun_audit.probes.probe import Dose, Effort, Probe, with_name

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.finds import StoredFind
    from dmun_audit.probes.parts.network import Conditions


@dataclass(frozen=True)
class Figures:
    """How the word is learned. `steps` are the steps after which it is tried; `batch` images of `parts` batches make one step."""

    steps: tuple[int, ...]
    rate: float
    images: int
    batch: int
    parts: int


FIGURES: dict[Effort, Figures] = {
    "small": Figures((5, 10, 20, 40), 5e-3, images=16, batch=8, parts=1),
    "published": Figures((300, 1000, 3000, 5000), 5e-3, images=16, batch=4, parts=4),
}


class LearnedEmbedding(Probe):
    """See the module."""

    name = "learned-embedding"
    order = 50
    title = "Learning a new word from pictures"
    explanation = (
        "Somebody shows the candidate a few pictures of the target and lets it find a new word for them. The weights stay as they are: "
        "if a word is enough, the weights can still draw the target."
    )
    source = "Pham et al. 2024, arXiv 2308.01508, section 3"
    figures_by_effort = FIGURES
    teaches = True

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: numbers of gradient steps."""
        return tuple(Dose(f"{steps} gradient steps", {"steps": steps}, steps) for steps in FIGURES[effort].steps)

    def examples(self, effort: Effort) -> int:
        """See `Probe.examples`."""
        return FIGURES[effort].images

    def find(self, bench: Bench, side: Side, recipe: Recipe) -> StoredFind:
        """See `Probe.find`: the embedding of the word after each number of steps."""
        facts = {
            "examples": [bench.engine.key(example) for example in recipe.examples],
            "prompts": [example.prompt for example in recipe.examples],
            "names": list(recipe.names),
        }
        return bench.find(bench.find_key(side, recipe, facts), lambda checkpoint: self._learn(bench, side, recipe, checkpoint))

    def _learn(self, bench: Bench, side: Side, recipe: Recipe, checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        import torch

        from dmun_audit.probes.parts.search import optimise
        from dmun_audit.probes.parts.tokens import embeddings, injected, placeholder

        figures, network = FIGURES[recipe.setting("effort")], bench.network(side)
        word = placeholder(network, [example.prompt for example in recipe.examples])
        prompts = [with_name(example.prompt, recipe.names, word.word) for example in recipe.examples]
        latents = network.encode(bench.example_images(recipe))
        starts = [matrix.mean(dim=0).requires_grad_(True) for matrix in embeddings(network)]
        variables = {f"encoder_{place}": start for place, start in enumerate(starts)}

        def conditions_of(places: list[int]) -> Conditions:
            texts = [prompts[place] for place in places]
            network.follow(texts)
            with injected(network, word, starts):
                return network.conditions(texts)

        def loss_of(step: int) -> torch.Tensor:
            sources = [torch.Generator().manual_seed(seed_of(self.name, step, part)) for part in range(figures.parts)]
            return torch.stack([network.error(latents, figures.batch, each, conditions_of) for each in sources]).mean()

        optimiser = torch.optim.AdamW(starts, lr=figures.rate)
        found, losses = optimise(
            variables,
            loss_of,
            optimiser,
            steps=figures.steps[-1],
            checkpoint=checkpoint,
            on_step=bench.stepped,
            keep=figures.steps,
        )
        return found, {"kind": "embedding", "losses": losses}

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`: the word stands in the place of the target's name."""
        from dmun_audit.probes.parts.drawing import drawn
        from dmun_audit.probes.parts.tokens import injected, placeholder

        network, found = bench.network(side), self.find(bench, side, recipe).tensors
        word = placeholder(network, prompts)
        vectors = [found[f"encoder_{place}@{recipe.setting('steps')}"] for place in range(len(network.tokenizers()))]
        texts = [with_name(prompt, recipe.names, word.word) for prompt in prompts]
        with injected(network, word, vectors):
            guided = network.guided(texts, bench.guidance)
        return drawn(bench, side, guided, seeds)


PROBE = LearnedEmbedding()
