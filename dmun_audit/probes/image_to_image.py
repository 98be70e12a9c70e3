"""Image to image: the candidate redraws a noisy picture of the target that the base drew (SDEdit, arXiv 2108.01073, section 3).

The strength is the share of the steps that the candidate takes. The more noise the picture gets first, the less of it is left, and the
more the candidate must add from what it knows. At a low strength the picture itself is left, so that any model shows the target: the
control counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmun_audit._util.hashing import seed_of
from dmun_audit.plan.case import Recipe, Side
from dmun_audit.probes.probe import Dose, Effort, Probe, shown_prompts

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench


class ImageToImage(Probe):
    """See the module."""

    name = "image-to-image"
    order = 32
    title = "Redrawing a picture of the target"
    explanation = (
        "The candidate gets a picture of the target by the original model, with noise over it, and draws it again with the same prompt. "
        "A model that has lost only the way from the words to the target may follow the picture."
    )
    source = "Meng et al. 2021, arXiv 2108.01073, section 3"

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: strengths in hundredths, the weakest attack first."""
        strengths = (80, 60, 40) if effort == "small" else (80, 70, 60, 50, 40, 30)
        return tuple(Dose(f"strength {strength / 100:g}", {"strength": strength}) for strength in strengths)

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`. The noise is not that from which the base drew the picture."""
        from dmun_audit.probes.parts.drawing import redrawn

        network = bench.network(side)
        predictor = network.guided(shown_prompts(recipe, prompts), bench.guidance)
        pictures = network.encode(bench.base_images_of(prompts, seeds))
        start = bench.steps - bench.steps * recipe.setting("strength") // 100
        own = [seed_of(seed, self.name) for seed in seeds]
        return network.decode(redrawn(bench, side, predictor, pictures, own, start))


PROBE = ImageToImage()
