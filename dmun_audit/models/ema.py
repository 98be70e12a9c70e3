"""EMA weights beside trained ones in a CompVis checkpoint: an audit loads the trained weights, and says where the two differ.

CompVis's training keeps a moving average of the denoiser as `model_ema.` + the trained tensor's name without dots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dmun_audit.models.artifacts.formats import WRAPPERS
from dmun_audit.models.artifacts.layout import Layout, Part
from dmun_audit.models.files.contents import FLOATS, Contents
from dmun_audit.models.proof import State
from dmun_audit.models.rounding import rounded_type

EMA = "model_ema."
TRAINED = "model."


@dataclass(frozen=True)
class EmaWeights:
    """How many of the file's EMA tensors stand beside a trained one, and how many differ from it and from the base."""

    tensors: int = 0
    from_trained: int = 0
    from_base: int = 0

    def sentence(self) -> str:
        """What a reader of the proof should know; empty where the EMA weights are the trained ones or there are none."""
        if not self.from_trained:
            return ""
        return (
            f"the file's EMA weights (model_ema) differ from its trained weights in {self.from_trained} of {self.tensors} tensors, and "
            f"from the base's in {self.from_base}: the trained weights are loaded"
        )

    def only_they_differ(self) -> str:
        """What to say where no trained weight differs from the base; empty where no EMA weight does either."""
        if not self.from_base:
            return ""
        return (
            f"only the file's EMA weights (model_ema) differ from the base's, in {self.from_base} of {self.tensors} tensors, and the "
            "trained weights beside them are loaded; to audit the EMA weights, save a file of them alone, under the trained weights' names"
        )


def ema_weights(contents: Contents, layout: Layout, base: Mapping[str, State]) -> EmaWeights:
    """Compare the file's EMA weights with its trained ones and with the base, whose tensors `base` holds by component."""
    averages = {bare: name for name in contents.shapes if (bare := WRAPPERS.sub("", name)).startswith(EMA)}
    if not averages:
        return EmaWeights()
    counts = [0, 0, 0]
    for part in layout.parts:
        average = averages.get(_ema_name(part.source.name))
        if average is None or contents.dtypes[average] not in FLOATS or part.place not in base.get(part.component, {}):
            continue
        counts[0] += 1
        counts[1] += _differs(contents.tensor(average), contents.tensor(part.source.name))
        counts[2] += _differs(
            _at_its_place(contents.tensor(average), part, base[part.component]), base[part.component][part.place]
        )
    return EmaWeights(*counts)


def _ema_name(trained: str) -> str:
    return EMA + WRAPPERS.sub("", trained).removeprefix(TRAINED).replace(".", "")


def _at_its_place(average: torch.Tensor, part: Part, base: State) -> torch.Tensor:
    place = base[part.place]
    return average.reshape(place.shape).to(place.dtype) if average.numel() == place.numel() else average


def _differs(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors differ beyond rounding."""
    if one.shape != other.shape:
        return True
    one, other = one.to("cpu", torch.float32), other.to("cpu", torch.float32)
    return not torch.equal(one, other) and not rounded_type(one, other)
