"""What the table of kinds holds of each kind of metric, and what the kinds share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from dmun_audit._util.errors import LoadError, in_brief
from dmun_audit._util.paths import expanded
from dmun_audit.judge.detector_kind import SharedModels
from dmun_audit.judge.reference import JudgeReference, check_clip, is_clip, local_path
from dmun_audit.measures.protocol import Metric
from dmun_audit.models.files.first_bytes import what_text

if TYPE_CHECKING:
    from dmun_audit.judge.clip import ClipJudge

SAFE_FORMS = "a file of tensors: safetensors, or PyTorch's format without Python objects"
IMAGES, PROMPTS, FEATURES = "images", "prompts", "features"
"""The parts of a metric's values that are numbers of images, of prompts and of features. They say on what the other values rest."""


@runtime_checkable
class ReferencedMetric(Metric, Protocol):
    """A metric that the user named by a reference.

    `digest` is the SHA-256 of everything that decides a value: weights, settings, the code's version.
    """

    @property
    def reference(self) -> str:
        """The reference, as the user wrote it."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits)."""
        ...


@dataclass(frozen=True)
class MetricKind:
    """One kind of metric. A reference of it is `name:SOURCE#QUERY`.

    `usage` shows a reference in messages. `check` raises LoadError for a reference that cannot be opened, as far as that shows
    without loading a model; it loads no torch. `open` opens the metric. `note` says in reports how to read its values, and `titles`
    how reports call its metrics, by name.
    """

    name: str
    usage: str
    check: Callable[[JudgeReference], None]
    open: Callable[[JudgeReference, SharedModels], ReferencedMetric]
    note: str
    titles: Mapping[str, str] = field(default_factory=dict)


def missing_package(reference: JudgeReference, package: str, why: str) -> LoadError:
    """The error for a metric that needs a package which is not installed, or cannot be imported."""
    return LoadError(f"metric {reference.text!r} needs the package {package}", why, "pip install 'dmun_audit[metrics]'")


def paired_values(name: str, base: np.ndarray, candidate: np.ndarray, prompts: Sequence[str]) -> dict[str, float]:
    """The values of a metric that scores single images, of scores (n,) of base images and of candidate images, n ≥ 1.

    `prompts` are the prompts of the n pairs. `NAME.base` and `NAME.candidate` are means, and `NAME.difference` is the mean of candidate
    minus base over pairs. `NAME.standard_error` is its standard error, from two prompts on. It counts pairs of one prompt as dependent.
    `NAME.images` is the number of pairs, and `NAME.prompts` the number of different prompts.
    """
    differences = np.asarray(candidate, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    values = {
        f"{name}.base": float(np.mean(base, dtype=np.float64)),
        f"{name}.candidate": float(np.mean(candidate, dtype=np.float64)),
        f"{name}.difference": float(differences.mean()),
        f"{name}.{IMAGES}": float(len(differences)),
        f"{name}.{PROMPTS}": float(len(set(prompts))),
    }
    if len(set(prompts)) > 1:
        values[f"{name}.standard_error"] = _error_over_prompts(differences, prompts)
    return values


def _error_over_prompts(differences: np.ndarray, prompts: Sequence[str]) -> float:
    """The standard error of the mean of `differences` (n,) over at least two different `prompts`, if pairs of one prompt depend on each other.

    With equally many pairs of each prompt it is the standard error of the mean of the prompts' means. It is the cluster-robust
    estimate (Liang and Zeger 1986) with the factor G / (G - 1) for G prompts.
    """
    of_each = np.unique(np.asarray(prompts), return_inverse=True)[1]
    sums = np.bincount(of_each, weights=differences - differences.mean())
    return float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(differences))


def check_weights_file(reference: JudgeReference, text: str, what: str) -> None:
    """Raise LoadError unless `text` names a file that may hold weights: its first bytes are no text. `what` says what it holds."""
    path = expanded(text) if text else None
    if path is None or not path.is_file():
        raise LoadError(
            f"{reference.role} {reference.text!r}: there is no file {text or 'named'}", f"it names {what}", "check the path"
        )
    try:
        text_kind = what_text(path)
    except OSError as error:
        raise LoadError(f"{reference.role} {reference.text!r}: {text} cannot be read", str(error), "check the file") from None
    if text_kind or not path.stat().st_size:
        raise LoadError(
            f"{reference.role} {reference.text!r}: {text} holds no weights",
            text_kind or "it is empty",
            f"give {what}, as {SAFE_FORMS}",
        )


def check_clip_source(reference: JudgeReference, text: str) -> None:
    """Raise LoadError unless `text` is the reference of a CLIP model, as far as that shows without loading one."""
    if not is_clip(text):
        raise LoadError(
            f"{reference.role} {reference.text!r} names no CLIP model",
            f"{text!r} begins with none of local-dir:, open_clip:, hf-hub:",
            "name a CLIP model as --judge takes it, such as open_clip:ViT-L-14-quickgelu/openai",
        )
    try:
        check_clip(text)
    except LoadError as error:
        raise _of_its_clip(reference, error) from None


def open_clip_source(reference: JudgeReference, text: str, models: SharedModels) -> ClipJudge:
    """The CLIP model of the reference `text`. Raises LoadError, in the name of `reference`, where it cannot be opened."""
    try:
        return models.clip_model(text)
    except LoadError as error:
        raise _of_its_clip(reference, error) from None


def read_tensors(reference: JudgeReference, text: str) -> dict[str, Any]:
    """The tensors of a weights file by name. The tensors may lie under `state_dict` or `model_state_dict`. No code in the file runs.

    Raises LoadError where the file holds none, or cannot be read without running code.
    """
    import torch
    from safetensors.torch import load_file

    path = expanded(text)
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise LoadError(
            f"{reference.role} {reference.text!r}: {text} cannot be read",
            in_brief(error),
            f"give {SAFE_FORMS}",
        ) from None
    if isinstance(content, dict):
        content = next((content[key] for key in ("model_state_dict", "state_dict") if key in content), content)
    if not isinstance(content, dict) or not content or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise LoadError(f"{reference.role} {reference.text!r}: {text} holds no tensors by name", "", f"give {SAFE_FORMS}")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def short_name(source: str) -> str:
    """The last part of a path or a hub id, without revision and suffix."""
    path = local_path(source)
    return path.resolve().name if path else Path(source.partition("@")[0]).name


def as_batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """`items` in parts of at most `size`, in order."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _of_its_clip(reference: JudgeReference, error: LoadError) -> LoadError:
    return LoadError(f"{reference.role} {reference.text!r} cannot use its CLIP model", error.in_a_line, error.remedy)
