"""LAION's aesthetic predictors: how beautiful people would call an image, from 1 to 10, whatever its prompt.

Source: Schuhmann et al., LAION-5B: an open large-scale dataset for training next generation image-text models, NeurIPS 2022, §3. The
published heads read embeddings of OpenAI's CLIP ViT-L/14: a linear one, and one of several linear layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.detector_kind import SharedModels
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.measures.metric_kind import (
    MetricKind,
    check_clip_source,
    check_weights_file,
    open_clip_source,
    paired_values,
    read_tensors,
)

VERSION = 2  # of what this file computes

Layer = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Weight (outputs, inputs) and bias (outputs,) of a linear layer."""


@dataclass(frozen=True)
class AestheticScore:
    """The output of linear layers, one after the other, on the unit embedding of an image. Dropout has no part in it."""

    reference: str
    clip: ClipJudge
    layers: Sequence[Layer]
    name: str = "aesthetic"

    @property
    def digest(self) -> str:
        """See `ReferencedMetric.digest`."""
        return digest(
            [self.name, VERSION, self.clip.digest, [digest_bytes(part.tobytes()) for layer in self.layers for part in layer]]
        )

    def measure(self, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> Mapping[str, float]:
        """See `Metric.measure` and `paired_values`."""
        return paired_values(self.name, self.scores(base), self.scores(candidate), prompts)

    def scores(self, images: Sequence[np.ndarray]) -> NDArray[np.float64]:
        """The score of each of n ≥ 1 images (height, width, 3) uint8, (n,)."""
        values = self.clip.embed_images(images).astype(np.float64)
        for weight, bias in self.layers:
            values = (
                np.stack([(weight * row).sum(axis=1) for row in values]) + bias
            )  # a matrix product rounds by the number of rows
        return values[:, 0]


def _open(reference: JudgeReference, models: SharedModels) -> AestheticScore:
    clip = open_clip_source(reference, reference.query, models)
    layers = _layers(reference)
    given, read = clip.embed_texts(["a"]).shape[1], layers[0][0].shape[1]
    if given != read:
        raise LoadError(
            f"metric {reference.text!r}: the head reads {read} numbers, and the CLIP model gives {given}",
            "",
            "name the CLIP model that belongs to the head: LAION's heads belong to open_clip:ViT-L-14-quickgelu/openai",
        )
    return AestheticScore(reference.text, clip, layers)


def _layers(reference: JudgeReference) -> list[Layer]:
    """The linear layers of the head, in the order of the numbers in their names."""
    tensors = {
        name: np.asarray(tensor.float().numpy(), dtype=np.float64)
        for name, tensor in read_tensors(reference, reference.source).items()
    }
    stems = sorted(
        {name.rpartition(".")[0] for name in tensors}, key=lambda stem: [int(part) for part in re.findall(r"\d+", stem)]
    )
    names = [(f"{stem}.weight".lstrip("."), f"{stem}.bias".lstrip(".")) for stem in stems]
    if {name for pair in names for name in pair} != tensors.keys():
        raise _no_head(reference, f"it holds {', '.join(sorted(tensors)[:4])}")
    layers = [(tensors[weight], tensors[bias]) for weight, bias in names]
    widths = [layers[0][0].shape[-1]]
    for weight, bias in layers:
        if weight.ndim != 2 or weight.shape[1] != widths[-1] or bias.shape != weight.shape[:1]:
            raise _no_head(reference, f"a layer has the shapes {weight.shape} and {bias.shape} after {widths[-1]} numbers")
        widths.append(weight.shape[0])
    if widths[-1] != 1:
        raise _no_head(reference, f"its last layer gives {widths[-1]} numbers")
    return layers


def _no_head(reference: JudgeReference, why: str) -> LoadError:
    return LoadError(
        f"metric {reference.text!r}: {reference.source} is no head of linear layers with one output",
        why,
        "give sa_0_4_vit_l_14_linear.pth or sac+logos+ava1-l14-linearMSE.pth, or a file of that form",
    )


def _check(reference: JudgeReference) -> None:
    check_weights_file(reference, reference.source, "the weights of an aesthetic predictor")
    if not reference.query:
        raise LoadError(
            f"metric {reference.text!r} names no CLIP model",
            "the predictor reads embeddings of the CLIP model on which it was trained",
            "add it after #, such as #open_clip:ViT-L-14-quickgelu/openai",
        )
    check_clip_source(reference, reference.query)


KIND = MetricKind(
    "aesthetic",
    "aesthetic:HEAD#CLIP",
    check=_check,
    open=_open,
    note="The aesthetic score says from 1 to 10 how beautiful people would call an image, whatever its prompt: higher is better.",
    titles={"aesthetic": "Aesthetic score"},
)
