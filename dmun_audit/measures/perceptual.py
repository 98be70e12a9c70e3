"""The perceptual distance LPIPS between the images of a pair. It shows damage that class labels miss.

A windmill that became another windmill keeps its label. LPIPS (Zhang et al., The unreasonable effectiveness of deep
features as a perceptual metric, CVPR 2018, §3, version 0.1) compares the features of an ImageNet AlexNet. torchmetrics ships its
linear weights. The user brings AlexNet's: nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from functools import reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, in_brief
from dmun_audit._util.hashing import digest
from dmun_audit._util.paths import expanded

ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
ALEXNET_DIGEST = "7be5be79"  # the first digits of the SHA-256 of torchvision's file
ALEXNET_ADDRESS = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
BATCH_SIZE = 16  # pairs; the last batch is padded, since a distance can depend on the size of its batch
SMALLEST_SIDE = 32  # pixels; AlexNet's last layers need as many

_REPLACE = f"download {ALEXNET_ADDRESS} to that place again"
_ENDS = (2, 5, 8, 10, 12)  # positions after the ReLU of each of AlexNet's five feature layers
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of channels in [-1, 1], as the weights were trained


class PerceptualDistance(Protocol):
    """A perceptual distance between two images. `digest` is the SHA-256 of all weights that decide it."""

    name: str
    digest: str

    def distances(self, left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> NDArray[np.float64]:
        """The distance of each of n pairs of images (height, width, 3) uint8; shape (n,). It is 0 for equal images."""


def check_perceptual(name: str) -> None:
    """Raise LoadError unless the distance `name` is known and its weights are in torch's cache. Loads no torch."""
    if name not in _KNOWN:
        raise LoadError(f"perceptual distance {name!r} is not known", "", f"use one of {', '.join(_KNOWN)}")
    path = alexnet_path()
    if not path.is_file():
        raise LoadError(
            f"the perceptual distance {name!r} needs AlexNet's weights, and {path} is missing",
            "an audit reads weights from torch's cache and downloads none",
            f"download {ALEXNET_ADDRESS} to that place, or remove the perceptual distance from the policy",
        )


def open_perceptual(name: str, device: str = "cpu") -> PerceptualDistance:
    """The perceptual distance `name` on a torch device. Raises LoadError where its weights are missing, damaged or others."""
    check_perceptual(name)
    return _KNOWN[name](device)


def alexnet_path() -> Path:
    """The path of torchvision's AlexNet in torch's cache: TORCH_HOME, else XDG_CACHE_HOME/torch, else ~/.cache/torch."""
    cache = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return expanded(cache) / "hub" / "checkpoints" / ALEXNET_FILE


class Lpips:
    """LPIPS with AlexNet, version 0.1."""

    name = "lpips"

    def __init__(self, device: str = "cpu") -> None:
        torchvision_compatibility.make_importable()
        import torch
        import torchvision

        self._torch, self._device = torch, device
        features = _read_weights(torch, alexnet_path(), ALEXNET_DIGEST, _REPLACE)
        linear = _read_weights(torch, _linear_path(), "", "reinstall torchmetrics")
        layers = torchvision.models.alexnet(weights=None).features
        try:
            layers.load_state_dict(
                {key.removeprefix("features."): value for key, value in features[0].items() if key.startswith("features.")}
            )
        except (RuntimeError, AttributeError) as error:
            reason = in_brief(error)
            raise LoadError(f"{alexnet_path()} does not hold torchvision's AlexNet", reason, _REPLACE) from None
        self._linear = [linear[0][f"lin{place}.model.1.weight"].to(device) for place in range(len(_ENDS))]
        self._layers = layers.to(device).eval().requires_grad_(False)
        self._shift, self._scale = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (_SHIFT, _SCALE))
        self.digest = digest([self.name, features[1], linear[1]])

    def distances(self, left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> NDArray[np.float64]:
        """LPIPS of n pairs of images (height, width, 3) uint8, shape (n,).

        Raises ValueError unless all images have one size, with sides of 32 pixels or more.
        """
        shapes = {np.shape(image) for image in (*left, *right)}
        if len(left) != len(right) or len(shapes) > 1:
            raise ValueError(f"LPIPS compares pairs of one size, not {len(left)} and {len(right)} images of {sorted(shapes)}.")
        if any(len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < SMALLEST_SIDE for shape in shapes):
            raise ValueError(f"LPIPS needs colour images with sides of {SMALLEST_SIDE} pixels or more, not {sorted(shapes)}.")
        distances: list[float] = []
        with self._torch.inference_mode():
            for start in range(0, len(left), BATCH_SIZE):
                features = [self._features(side[start : start + BATCH_SIZE]) for side in (left, right)]
                distances += self._compare(*features)[: len(left) - start]
        return np.array(distances, dtype=np.float64)

    def _features(self, images: Sequence[np.ndarray]) -> list[Any]:
        """The unit feature vectors of each of the five layers, for a batch that is padded with its last image."""
        padded = [*images, *[images[-1]] * (BATCH_SIZE - len(images))]
        pixels = self._torch.from_numpy(np.stack(padded)).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        values, start, features = (pixels - self._shift) / self._scale, 0, []
        for end in _ENDS:
            values, start = self._layers[start:end](values), end
            features.append(values / (values.square().sum(dim=1, keepdim=True) + 1e-8).sqrt())
        return features

    def _compare(self, left: list[Any], right: list[Any]) -> list[float]:
        """Squared differences, weighted by channel, averaged over positions, and summed over layers."""
        layers = [
            ((one - other).square() * weight.view(1, -1, 1, 1)).sum(dim=1).mean(dim=(1, 2)).double()
            for one, other, weight in zip(left, right, self._linear, strict=True)
        ]
        return [float(value) for value in reduce(self._torch.add, layers).cpu()]


_KNOWN: dict[str, Callable[[str], PerceptualDistance]] = {Lpips.name: Lpips}


def _read_weights(torch: Any, path: Path, expected: str, remedy: str) -> tuple[dict[str, Any], str]:
    """The state dict of a file, and the file's SHA-256, which must begin with `expected`. No code in the file runs."""
    try:
        data = path.read_bytes()
        file_digest = hashlib.sha256(data).hexdigest()
        matches = file_digest.startswith(expected)
        weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True) if matches else None
    except Exception as error:
        raise LoadError(f"{path} cannot be read", in_brief(error), remedy) from None
    if weights is None:
        raise LoadError(
            f"{path} is damaged, or another file", f"its SHA-256 begins with {file_digest[:8]} and not with {expected}", remedy
        )
    return weights, file_digest


def _linear_path() -> Path:
    """The linear weights of LPIPS that torchmetrics ships."""
    spec = find_spec("torchmetrics")
    folders = spec.submodule_search_locations if spec else None
    return Path(next(iter(folders or ["torchmetrics"]))) / "functional" / "image" / "lpips_models" / "alex.pth"
