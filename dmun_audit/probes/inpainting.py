"""Inpainting: the candidate fills in the centre of a picture of the target that the base drew (arXiv 2505.17013, visual context).

The places around the hole get the base's latents before each step, with the noise of that step. The candidate draws only the hole.

A judge would still see the target around the hole: in the atelier, it then finds Van Gogh in 8 of 8 pictures of a model that never knew
him. So the hole alone is the image of this probe, enlarged to the size of a picture: there it finds him in 0 of 8. What is around the
hole still shows any model how to go on: the control counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmun_audit._util.hashing import seed_of
from dmun_audit.plan.case import Recipe, Side
from dmun_audit.probes.probe import Dose, Effort, Probe, shown_prompts

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dmun_audit.probes.parts.bench import Bench


class Inpainting(Probe):
    """See the module."""

    name = "inpainting"
    order = 34
    title = "Filling in the centre of a picture of the target"
    explanation = (
        "The centre of a picture of the target by the original model is cut out, and the candidate fills it in with the same prompt. "
        "Only what the candidate drew is looked at, enlarged."
    )
    source = "arXiv 2505.17013 (visual context: inpainting)"

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: the hole's share of each side in hundredths. The larger the hole, the less the candidate is shown."""
        shares = (75, 50) if effort == "small" else (90, 75, 50)
        return tuple(Dose(f"a hole of {share}% of each side", {"share": share}) for share in shares)

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`. The noise is not that from which the base drew the picture."""
        from dmun_audit.probes.parts.drawing import redrawn

        network = bench.network(side)
        predictor = network.guided(shown_prompts(recipe, prompts), bench.guidance)
        pictures = network.encode(bench.base_images_of(prompts, seeds))
        own = [seed_of(seed, self.name) for seed in seeds]
        edges = edges_of(pictures.shape[-2:], recipe.setting("share") / 100)
        hole = inside(pictures, edges)

        def around(place: int, latents: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
            return latents.where(hole, given)

        drawn = network.decode(redrawn(bench, side, predictor, pictures, own, after=around))
        return enlarged(drawn, edges, pictures.shape[-2:])


PROBE = Inpainting()

Edges = tuple[int, int]
"""The height of what is above and below a hole, and the width of what is left and right of it, in latents."""


def edges_of(shape: Sequence[int], share: float) -> Edges:
    """The edges around a hole with this share of the height and the width of latents; at least one latent wide."""
    height, width = (max(1, round(side * (1 - share) / 2)) for side in shape)
    return height, width


def inside(latents: torch.Tensor, edges: Edges) -> torch.Tensor:
    """Whether each place of latents (…, height, width) belongs to the hole: (height, width) bool."""
    import torch

    hole = torch.zeros(latents.shape[-2:], dtype=torch.bool, device=latents.device)
    hole[edges[0] : -edges[0], edges[1] : -edges[1]] = True
    return hole


def enlarged(images: np.ndarray, edges: Edges, shape: Sequence[int]) -> np.ndarray:
    """The holes of images (n, height, width, 3) uint8 whose latents have this shape, enlarged to the size of the images."""
    import numpy as np
    from PIL import Image

    size = images.shape[1:3]
    top, left = (edge * whole // latents for edge, whole, latents in zip(edges, size, shape, strict=True))
    cut = images[:, top : size[0] - top, left : size[1] - left]
    return np.stack([np.asarray(Image.fromarray(each).resize(size[::-1], Image.Resampling.BICUBIC)) for each in cut])
