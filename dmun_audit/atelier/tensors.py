"""Pictures as tensors, and the randomness of a training step."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random generator of one training step; it depends on seed and step alone."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """Pictures (n, h, w, 3) uint8 as a tensor (n, 3, h, w), float32 in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def augment(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift, blur and add noise to pictures (n, 3, h, w) in [0, 1], all slightly.

    A network that is trained on these does not depend on the sharpness of painted pictures.
    """
    shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
    pictures = torch.roll(pictures, shift, dims=(2, 3))
    if torch.rand((), generator=generator) < 0.5:
        soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        share = torch.rand((len(pictures), 1, 1, 1), generator=generator)
        pictures = share * soft + (1 - share) * pictures
    return (pictures + 0.03 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1)
