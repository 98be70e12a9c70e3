"""Latent guidance: the gradient of a small classifier leads the candidate to the target while it draws (arXiv 2505.17013).

The classifier sees noised latents. It learns to tell base images of the target from base images with the same prompts and seeds, where
a made-up name stands in the place of the target's. The candidate gets the plain prompts. A strong gradient paints something like the
target on any model's picture, and a stronger one spoils the pictures of all: what counts is success beyond the control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.hashing import seed_of
from dmun_audit.plan.case import Recipe, Side
from dmun_audit.probes.probe import MADE_UP, Dose, Effort, Probe, with_name

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.finds import StoredFind


@dataclass(frozen=True)
class Figures:
    """How the classifier is trained, and the `scales` of its gradient. A step takes a batch of each kind of image."""

    steps: int
    images: int
    batch: int
    rate: float
    scales: tuple[float, ...]


FIGURES: dict[Effort, Figures] = {
    "small": Figures(300, 48, 24, 2e-3, (8.0, 32.0, 64.0)),
    "published": Figures(3000, 200, 32, 1e-3, (5.0, 10.0, 20.0, 50.0)),
}
DECAY = 1e-2
NOISINESS = 3  # the noisy levels are trained more often, as in the paper's code; 1 would train all alike


class LatentGuidance(Probe):
    """See the module."""

    name = "latent-guidance"
    order = 60
    title = "Guiding the drawing by a classifier of the target"
    explanation = (
        "Somebody trains a small classifier on pictures of the target, and lets it lead the candidate towards the target at every step. "
        "The weights of the candidate stay as they are."
    )
    source = "arXiv 2505.17013 (classifier guidance), after Dhariwal and Nichol 2021, arXiv 2105.05233, section 4"
    figures_by_effort = FIGURES
    teaches = True

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: scales of the gradient, with one classifier for all."""
        figures = FIGURES[effort]
        return tuple(Dose(f"scale {scale:g}", {"scale": scale}, figures.steps) for scale in figures.scales)

    def examples(self, effort: Effort) -> int:
        """See `Probe.examples`. As many images without the target are drawn as well."""
        return FIGURES[effort].images

    def base_images(self, effort: Effort) -> int:
        """See `Probe.base_images`: as many without the target."""
        return 2 * FIGURES[effort].images

    def find(self, bench: Bench, side: Side, recipe: Recipe) -> StoredFind:
        """See `Probe.find`: the weights of the classifier, which sees latents of the side's own encoder."""
        facts = {
            "examples": [bench.engine.key(example) for example in recipe.examples],
            "names": list(recipe.names),
        }
        return bench.find(bench.find_key(side, recipe, facts), lambda checkpoint: self._train(bench, side, recipe, checkpoint))

    def _train(self, bench: Bench, side: Side, recipe: Recipe, checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        import torch
        import torch.nn.functional as F

        from dmun_audit.probes.parts.classifier import NoisyClassifier
        from dmun_audit.probes.parts.search import optimise

        figures, network = FIGURES[recipe.setting("effort")], bench.network(side)
        others = [
            with_name(example.prompt, recipe.names, MADE_UP[place % len(MADE_UP)])
            for place, example in enumerate(recipe.examples)
        ]
        images = bench.example_images(recipe), bench.base_images_of(others, [example.seed for example in recipe.examples])
        shown, hidden = (_encoded(bench, side, each) for each in images)
        classifier = NoisyClassifier(shown.shape[1], seed_of(self.name)).to(shown.device)
        variables = dict(classifier.named_parameters())
        labels = torch.tensor([1.0, 0.0], device=shown.device).repeat_interleave(figures.batch)

        def loss_of(step: int) -> torch.Tensor:
            generator = torch.Generator().manual_seed(seed_of(self.name, step))
            chosen = torch.randint(len(shown), (2, figures.batch), generator=generator).to(shown.device)
            clean = torch.cat([shown[chosen[0]], hidden[chosen[1]]])
            noise = torch.randn(clean.shape, generator=generator).to(clean)
            late = torch.rand(len(clean), generator=generator) ** (1 / NOISINESS)
            times = (late * len(network.kept)).long().clamp(max=len(network.kept) - 1).to(shown.device)
            return F.binary_cross_entropy_with_logits(
                classifier(network.noised(clean, noise, times), network.kept[times]), labels
            )

        optimiser = torch.optim.AdamW(classifier.parameters(), lr=figures.rate, weight_decay=DECAY)
        found, losses = optimise(variables, loss_of, optimiser, steps=figures.steps, checkpoint=checkpoint, on_step=bench.stepped)
        return found, {"kind": "classifier", "losses": losses}

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`."""
        from dmun_audit.probes.parts.classifier import pulled, restored
        from dmun_audit.probes.parts.drawing import drawn

        network = bench.network(side)
        classifier = restored(self.find(bench, side, recipe).tensors, network.device)
        guided = network.guided(list(prompts), bench.guidance)
        return drawn(bench, side, pulled(guided, network, classifier, recipe.setting("scale")), seeds)


PROBE = LatentGuidance()


def _encoded(bench: Bench, side: Side, images: np.ndarray) -> Any:
    """The latents of images, (n, channels, height, width) float32, encoded batch by batch."""
    import torch

    batch = bench.engine.sampling.batch_size
    encoded = [bench.network(side).encode(images[start : start + batch]) for start in range(0, len(images), batch)]
    return torch.cat(encoded).float()
