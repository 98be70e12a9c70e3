"""DreamSim (the package `dreamsim`): a perceptual distance that was trained on people's judgements of similar images.

Source: Fu et al., DreamSim: learning new dimensions of human visual similarity using synthetic data, NeurIPS 2023.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from typing import Any

import numpy as np

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit._util.paths import expanded
from dmun_audit.judge.batches import encode_in_batches
from dmun_audit.judge.detector_kind import SharedModels
from dmun_audit.judge.pretrained import pil_images
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.measures.metric_kind import IMAGES, MetricKind, missing_package

PACKAGE = "dreamsim"
BATCH_SIZE = 8  # the package drops a dimension in batches of one
VERSION = 1  # of what this file computes
FILES = {
    "clip_vitb32": ("clip_vitb32_pretrain.pth.tar", "clip_vitb32_single_lora"),
    "open_clip_vitb32": ("open_clip_vitb32_pretrain.pth.tar", "open_clip_vitb32_single_lora"),
}
"""The files of each variant in the folder. The package builds the other variants with code that it fetches while it runs."""

VARIANT = "open_clip_vitb32"


@dataclass(frozen=True)
class DreamSim:
    """The distance of base and candidate image, a mean over pairs."""

    reference: str
    digest: str
    network: Any
    prepare: Any
    device: str
    name: str = "dreamsim"

    def measure(self, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> Mapping[str, float]:
        """See `Metric.measure`. `dreamsim` is 0 for equal images; `dreamsim.images` is the number of pairs."""

        def encode(batch: list[tuple[np.ndarray, np.ndarray]]) -> Any:
            import torch

            left, right = (
                torch.cat([self.prepare(image) for image in pil_images(side)]).to(self.device)
                for side in zip(*batch, strict=True)
            )
            return self.network(left, right)

        distances = encode_in_batches(encode, list(zip(base, candidate, strict=True)), BATCH_SIZE)
        return {self.name: float(distances.mean(dtype=np.float64)), f"{self.name}.{IMAGES}": float(len(distances))}


def _open(reference: JudgeReference, models: SharedModels) -> DreamSim:
    torchvision_compatibility.make_importable()
    try:
        from dreamsim import dreamsim
    except (ImportError, RuntimeError) as error:
        raise missing_package(reference, PACKAGE, str(error)) from None
    variant, folder = reference.query or VARIANT, expanded(reference.source)
    try:
        with redirect_stdout(StringIO()), warnings.catch_warnings():  # the package prints, and lets peft warn
            warnings.simplefilter("ignore")
            network, prepare = dreamsim(device=models.device, cache_dir=str(folder), dreamsim_type=variant)
    except Exception as error:
        raise LoadError(
            f"metric {reference.text!r} cannot be opened by {PACKAGE}",
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            f"give the folder of the package's unpacked checkpoint of {variant}",
        ) from None
    network.eval()
    parts = [PACKAGE, version(PACKAGE), variant, VERSION]
    for name, tensor in sorted(network.state_dict().items()):
        parts += [name, hashlib.sha256(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()]
    return DreamSim(reference.text, digest(parts), network, prepare, models.device)


def _check(reference: JudgeReference) -> None:
    if find_spec(PACKAGE) is None:
        raise missing_package(reference, PACKAGE, "it is not installed")
    variant, folder = reference.query or VARIANT, expanded(reference.source)
    if variant not in FILES:
        raise LoadError(
            f"metric {reference.text!r} asks for the variant {variant!r}",
            "the package builds it with code that it fetches while it runs",
            f"use one of {', '.join(FILES)}",
        )
    lacking = [file for file in FILES[variant] if not (folder / file).exists()]
    if lacking:
        raise LoadError(
            f"metric {reference.text!r}: there is no {lacking[0]} in {reference.source}",
            "an audit downloads no weights of this package",
            f"unpack the package's checkpoint of {variant} there",
        )


KIND = MetricKind(
    "dreamsim",
    "dreamsim:FOLDER#VARIANT",
    check=_check,
    open=_open,
    note="DreamSim is a perceptual distance between the images of a pair: 0 for equal images.",
    titles={"dreamsim": "DreamSim"},
)
