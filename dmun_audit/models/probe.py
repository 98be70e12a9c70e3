"""The probe of a load: what the model computes for fixed inputs. The same digest of weights must mean the same output.

A probe is two denoising steps through the pipeline, on a fixed prompt with a fixed seed, at 64 by 64 pixels: the first output of the
denoiser, and the image. So text encoders, denoiser, autoencoder and pipeline all take part, with their attention processors, hooks,
replaced methods and adapters. It is one input: what acts on other prompts or in later steps alone does not show in it.

On a CPU, the same software and number of threads give the same bits. On a GPU, two probes may differ by rounding.
"""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest_bytes
from dmun_audit.store.environment import rendering_environment
from dmun_audit.store.probes import ProbeStore

if TYPE_CHECKING:
    from dmun_audit.models.loaded import LoadedModel

PROMPT = "a house"
SIDE = 64  # pixels
STEPS = 2  # PixArt takes a single step for that of a distilled model
TOKENS = 32  # the length of a prompt where the pipeline lets a caller choose it
MOST = 2048  # numbers that are kept of each part
DECIMALS = 3
SAME_ON_A_GPU = 0.02  # the largest relative distance of two probes of one model
SETTINGS = {"use_resolution_binning": False, "clean_caption": False, "max_sequence_length": TOKENS}
UNSEEN = {"digest": None, "why": "no model was seen, only images"}


@dataclass(frozen=True, eq=False)
class Probe:
    """`numbers` (n,) float32: numbers of the denoiser's first output and of the image, at most `MOST` of each, evenly taken."""

    numbers: np.ndarray
    device: str

    @property
    def facts(self) -> dict[str, Any]:
        """The probe in the load proof. Another device or other software gives other numbers, so digests of one machine are compared."""
        rounded = np.round(_finite(self.numbers), DECIMALS) + 0.0
        return {
            "digest": digest_bytes(rounded.tobytes()),
            "device": self.device,
            "numbers": len(self.numbers),
            "mean": round(float(rounded.mean()), DECIMALS),
            "deviation": round(float(rounded.std()), DECIMALS),
        }


def take_probe(pipeline: Any, device: str, set_prompts: Callable[[Sequence[str]], None] | None = None) -> Probe:
    """The probe of a pipeline on `device`. `set_prompts` belongs to an adapter that follows the prompts.

    The pipeline stays as it is. Raises whatever the pipeline raises.
    """
    private = copy.copy(pipeline)
    private.scheduler = copy.deepcopy(pipeline.scheduler)
    outputs: list[torch.Tensor] = []
    network = getattr(private, "unet", None) or getattr(private, "transformer", None)
    listening = network.register_forward_hook(lambda layer, inputs, output: outputs.append(_tensor(output))) if network else None
    takes = inspect.signature(private.__call__).parameters
    if set_prompts is not None:
        set_prompts([PROMPT])
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = private(
                prompt=[PROMPT],
                height=SIDE,
                width=SIDE,
                num_inference_steps=STEPS,
                generator=[torch.Generator("cpu").manual_seed(0)],
                output_type="np",
                **{name: value for name, value in SETTINGS.items() if name in takes},
            )
    finally:
        if listening is not None:
            listening.remove()
    parts = [*outputs[:1], torch.as_tensor(np.asarray(result.images))]
    return Probe(np.concatenate([_some(part.detach().float().cpu().flatten().numpy()) for part in parts]), device)


def confirm_probe(model: LoadedModel, store: Path, device: str) -> None:
    """Compare the model's probe with the one that was first stored for its digest, on this software and device.

    Raises LoadError where they differ: stored images under this digest would not be this model's. A model without a probe passes.
    """
    if model.probe is not None:
        threads = torch.get_num_threads() if device == "cpu" else 0
        confirm_same_probe(model, model.probe, store, rendering_environment(device) | {"threads": str(threads)})


def confirm_same_probe(model: LoadedModel, probe: Probe, store: Path, environment: Mapping[str, str]) -> None:
    """`confirm_probe` for a probe of the model that was taken in `environment`, on this machine or another."""
    first = ProbeStore(store).first(model.weights_digest, environment, probe.numbers)
    if not _same(first, probe.numbers, exactly=probe.device == "cpu"):
        raise LoadError(
            f"{model.reference.text} computes something else than the model that had the same weights digest before",
            f"digest {model.weights_digest[:16]}…: two steps on a fixed prompt gave another output, so code or settings that the digest "
            "does not cover have changed, and the images in the store are not this model's",
            "audit with another --store; a Python function can bring an attribute `fingerprint`, a text that changes with what it does",
        )


def _same(one: np.ndarray, other: np.ndarray, *, exactly: bool) -> bool:
    if exactly or one.shape != other.shape:
        return np.array_equal(one, other, equal_nan=True)
    before, after = _finite(one), _finite(other)
    size = float(np.linalg.norm(before))
    distance = float(np.linalg.norm(before - after))
    return distance <= SAME_ON_A_GPU * size if math.isfinite(distance) and size else distance == 0


def _finite(numbers: np.ndarray) -> np.ndarray:
    """The numbers in float64, with 0 in place of each that is not finite: a network in half precision may overflow."""
    return np.nan_to_num(numbers.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _tensor(output: Any) -> torch.Tensor:
    """The first tensor of what a network returned, as it is now: a scheduler may change it in place."""
    first = output[0] if isinstance(output, tuple | list) else getattr(output, "sample", output)
    return first.detach().clone()


def _some(values: np.ndarray) -> np.ndarray:
    return values[:: max(1, math.ceil(len(values) / MOST))]
