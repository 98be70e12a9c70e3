"""How different two images look to people, pair by pair: LPIPS, for damage that class labels miss.

A windmill that has become another windmill keeps its label. LPIPS (Zhang et al., The unreasonable effectiveness of deep
features as a perceptual metric, CVPR 2018, §3, version 0.1) compares the features of an ImageNet AlexNet. Its linear weights
come with torchmetrics; AlexNet's the user brings: nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest

ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
ALEXNET_DIGEST = "7be5be79"  # how the SHA-256 of torchvision's file begins
ALEXNET_ADDRESS = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
SLOTS = 16  # pairs of every batch, the last one padded: a distance must not depend on what it shares a batch with
SMALLEST_SIDE = 32  # pixels; below, AlexNet's last layers have nothing to look at

_REPLACE = f"put the file of {ALEXNET_ADDRESS} there anew"
_ENDS = (2, 5, 8, 10, 12)  # where AlexNet's five layers of features end, each behind its ReLU
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of channels in [-1, 1], as the weights were trained


class Perceptual(Protocol):
    """A perceptual distance between two images. `digest` is over all weights that decide it."""

    name: str
    digest: str

    def distances(self, left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> NDArray[np.float64]:
        """The distance of every pair, shape (n,); 0 for the same image. Images are (height, width, 3) uint8."""


def check_perceptual(name: str) -> None:
    """Raise LoadError unless the measure `name` is known and its weights lie where they belong. Loads no torch."""
    if name not in _KNOWN:
        raise LoadError(f"perceptual distance {name!r} is not known", "", f"use one of {', '.join(_KNOWN)}")
    path = alexnet_path()
    if not path.is_file():
        raise LoadError(
            f"the perceptual distance {name!r} needs AlexNet's weights, and {path} is missing",
            "weights are taken from torch's cache and never downloaded by an audit",
            f"put the file of {ALEXNET_ADDRESS} there, or leave the perceptual distance out of the policy",
        )


def open_perceptual(name: str, device: str = "cpu") -> Perceptual:
    """The perceptual distance `name` on a torch device. Raises LoadError for weights that are missing, damaged or others."""
    check_perceptual(name)
    return _KNOWN[name](device)


def alexnet_path() -> Path:
    """Where torch keeps the AlexNet of torchvision: under TORCH_HOME, else XDG_CACHE_HOME/torch, else ~/.cache/torch."""
    cache = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return Path(cache).expanduser() / "hub" / "checkpoints" / ALEXNET_FILE


class Lpips:
    """LPIPS with AlexNet, version 0.1."""

    name = "lpips"

    def __init__(self, device: str = "cpu") -> None:
        torchvision_compatibility.make_importable()
        import torch
        import torchvision

        self._torch, self._device = torch, device
        features = _read_weights(torch, alexnet_path(), ALEXNET_DIGEST, _REPLACE)
        linear = _read_weights(torch, _linear_path(), "", "install torchmetrics anew")
        layers = torchvision.models.alexnet(weights=None).features
        try:
            layers.load_state_dict(
                {key.removeprefix("features."): value for key, value in features[0].items() if key.startswith("features.")}
            )
        except (RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise LoadError(f"{alexnet_path()} does not hold torchvision's AlexNet", reason, _REPLACE) from None
        self._linear = [linear[0][f"lin{place}.model.1.weight"].to(device) for place in range(len(_ENDS))]
        self._layers = layers.to(device).eval().requires_grad_(False)
        self._shift, self._scale = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (_SHIFT, _SCALE))
        self.digest = digest([self.name, features[1], linear[1]])

    def distances(self, left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> NDArray[np.float64]:
        """LPIPS of every pair, shape (n,). Raises ValueError for images of different or too small sizes."""
        shapes = {np.shape(image) for image in (*left, *right)}
        if len(left) != len(right) or len(shapes) > 1:
            raise ValueError(f"LPIPS compares pairs of one size, not {len(left)} and {len(right)} images of {sorted(shapes)}.")
        if any(len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < SMALLEST_SIDE for shape in shapes):
            raise ValueError(f"LPIPS needs colour images of {SMALLEST_SIDE} pixels or more a side, not {sorted(shapes)}.")
        found: list[float] = []
        with self._torch.inference_mode():
            for start in range(0, len(left), SLOTS):
                ours, theirs = (self._features(side[start : start + SLOTS]) for side in (left, right))
                found += self._compare(ours, theirs)[: len(left) - start]
        return np.array(found, dtype=np.float64)

    def _features(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Unit feature vectors at every place of the five layers, of a batch filled up with its last image."""
        filled = [*images, *[images[-1]] * (SLOTS - len(images))]
        pixels = self._torch.from_numpy(np.stack(filled)).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        at, start, found = (pixels - self._shift) / self._scale, 0, []
        for end in _ENDS:
            at, start = self._layers[start:end](at), end
            found.append(at / (at.square().sum(dim=1, keepdim=True) + 1e-8).sqrt())
        return found

    def _compare(self, ours: list[Any], theirs: list[Any]) -> list[float]:
        """Squared differences weighed by channel, averaged over places, summed over layers."""
        parts = [
            ((one - other).square() * weight.view(1, -1, 1, 1)).sum(dim=1).mean(dim=(1, 2)).double()
            for one, other, weight in zip(ours, theirs, self._linear, strict=True)
        ]
        return [float(value) for value in sum(parts).cpu()]  # type: ignore[union-attr]


_KNOWN: dict[str, Callable[[str], Perceptual]] = {Lpips.name: Lpips}


def _read_weights(torch: Any, path: Path, expected: str, remedy: str) -> tuple[dict[str, Any], str]:
    """A state dict without any code of its file run, and the file's SHA-256, which must begin as `expected`."""
    try:
        data = path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True) if found.startswith(expected) else None
    except Exception as error:
        raise LoadError(f"{path} cannot be read", " ".join(str(error).split())[:300], remedy) from None
    if weights is None:
        raise LoadError(
            f"{path} is damaged, or another file", f"its SHA-256 begins with {found[:8]} and not with {expected}", remedy
        )
    return weights, found


def _linear_path() -> Path:
    """LPIPS' own linear weights, as torchmetrics ships them."""
    found = find_spec("torchmetrics")
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places or ["torchmetrics"]))) / "functional" / "image" / "lpips_models" / "alex.pth"
