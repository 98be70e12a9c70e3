"""Prepares images for CLIP as open_clip's own transform says: with Pillow, or on the device of the network.

On a GPU the bytes are moved first. Resizing with antialiasing, cropping and normalising then take the parameters of open_clip's
transform, and torch computes them. Pillow rounds to bytes after each direction and torch after both, so some grey levels differ by one or
two, and by a few more at edges of images that are enlarged. So embeddings of a GPU are kept apart (`store.environment`). The judge is
the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

THREADS = 8  # beside a GPU; Pillow lets other threads run while it resizes

Preparation = Callable[[Sequence[np.ndarray]], Any]
"""Makes a tensor (n, 3, side, side) float32 on the device of the network from n images (height, width, 3) uint8."""


def preparation(transform: Any, device: str) -> Preparation:
    """What prepares images for a network on `device`."""
    if device.startswith("cuda") and (steps := _known_steps(transform)) is not None:
        return OnDevice(steps, device)
    return WithPillow(transform, device)


class WithPillow:
    """open_clip's transform as it is."""

    def __init__(self, transform: Any, device: str) -> None:
        self._transform = transform
        self._device = device
        self._threads = 1 if device == "cpu" else THREADS

    def __call__(self, images: Sequence[np.ndarray]) -> Any:
        import torch
        from PIL import Image

        def prepared(image: np.ndarray) -> Any:
            return self._transform(Image.fromarray(image))

        if self._threads == 1:
            return torch.stack([prepared(image) for image in images]).to(self._device)
        with ThreadPoolExecutor(self._threads) as pool:
            return torch.stack(list(pool.map(prepared, images))).to(self._device)


class OnDevice:
    """The steps of open_clip's transform on tensors. They are `_known_steps`: resizing, perhaps cropping, and normalising."""

    def __init__(self, steps: Sequence[Any], device: str) -> None:
        *self._shaping, self._normalise = steps
        self._device = device

    def __call__(self, images: Sequence[np.ndarray]) -> Any:
        import torch

        return self._normalise(torch.stack([self._shaped(torch.from_numpy(image.copy())) for image in images]).float() / 255)

    def _shaped(self, image: Any) -> Any:
        pixels = image.to(self._device).permute(2, 0, 1)
        for step in self._shaping:
            pixels = step(pixels)
        return pixels


def _known_steps(transform: Any) -> list[Any] | None:
    """The steps of a transform that work on tensors as they do on images; None for a transform of another form."""
    from open_clip.transform import MaybeConvertMode, MaybeToTensor
    from torchvision.transforms import CenterCrop, Compose, Normalize, Resize

    steps = list(transform.transforms) if type(transform) is Compose else []
    kinds = [type(step) for step in steps]
    last = [MaybeConvertMode, MaybeToTensor, Normalize]
    if kinds not in ([Resize, *last], [Resize, CenterCrop, *last]) or not steps[0].antialias or steps[-3].mode != "RGB":
        return None
    return [*steps[:-3], steps[-1]]
