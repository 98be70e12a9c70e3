"""Metrics of other packages, found through the entry-point group `dmun_audit.metrics`, and the values of all metrics.

Loads no torch by itself.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from numbers import Real
from time import perf_counter

import numpy as np

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.extensions import load, registered
from dmun_audit.measures.metric_kind import ReferencedMetric
from dmun_audit.measures.protocol import Metric

GROUP = "dmun_audit.metrics"
BUILT_IN = frozenset(
    [
        f"{measure}_{side}"
        for measure in ("clip_accuracy", "clip_score", "clip_iqa", "collapsed")
        for side in ("base", "candidate")
    ]
    + [
        f"{distance}_{part}"
        for distance in ("kid", "cmmd")
        for part in ("paired", "p_value", "p_holm", "p_combined", "unpaired", "noise_floor")
    ]
    + [f"subject_accuracy_{side}" for side in ("base", "candidate")]
    + ["spread_ratio", "repeated_second_seeds", "second_seeds", "fid", "fid_torchmetrics"]
    + ["kid", "kid_torchmetrics", "lpips", "similarity_clip_text", "similarity_clip_image"]
    + ["threshold", "threshold_lowest", "threshold_view", "calibration_images", "true_rate_lower", "true_rate_upper"]
    + ["false_positive_rate_lowest", "empty_share", "subject_base", "subject_candidate", "spread_base", "spread_candidate"]
    + [f"unusual_{way}" for way in ("brightness", "contrast", "detail", "grain", "softness")]
    + [
        f"weakened_{kind}_{part}"
        for kind in ("darkened", "veiled", "blurred", "noised", "shrunk", "recoloured", "rotated")
        for part in ("detected", "caught")
    ]
)  # measures of the evidence that no other package may name

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_VALUE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_LOG = logging.getLogger(__name__)


def registered_metrics(device: str = "cpu") -> list[Metric]:
    """Open every registered metric on a torch device; sorted by name.

    Raises LoadError where one cannot be opened or does not keep the protocol, UsageError where its name is not allowed.
    """
    entries = registered(GROUP)
    return [_open(entries[name], device) for name in sorted(entries)]


def measured(
    metrics: Sequence[Metric], base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]
) -> dict[str, float]:
    """The values of all metrics on the same-seed pairs of one nearby concept; see `Metric.measure` for the arguments.

    Raises LoadError where a metric fails, or gives a value that is not finite or not under its name.
    """
    values: dict[str, float] = {}
    for metric in metrics:
        start = perf_counter()
        values |= _checked(metric, _measure(metric, base, candidate, prompts))
        _LOG.debug("measured %s of %d pairs in %.2f s", metric.name, len(base), perf_counter() - start)
    return values


def _open(entry: EntryPoint, device: str) -> Metric:
    if not _NAME.fullmatch(entry.name) or entry.name in BUILT_IN:
        reason = (
            "dmun_audit has a measure of that name" if entry.name in BUILT_IN else "a name has letters, digits, _ and - alone"
        )
        raise UsageError(
            f"{entry.value} is registered as the metric {entry.name!r}",
            reason,
            "uninstall the package, or register the metric under another name",
        )
    start = perf_counter()
    factory = load(entry)
    try:
        metric = factory(device)
    except UsageError:
        raise
    except Exception as error:
        raise LoadError(
            f"the metric {entry.name!r} cannot be opened",
            f"{entry.value}: {type(error).__name__}: {error}",
            "uninstall the package, or report it to its authors",
        ) from error
    if not callable(getattr(metric, "measure", None)) or getattr(metric, "name", None) != entry.name:
        raise LoadError(
            f"the metric {entry.name!r} does not keep the protocol of metrics",
            f"{entry.value} gives no object of this name with a method measure(base, candidate, prompts)",
            "report it to the authors of that package; the protocol is dmun_audit.measures.protocol",
        )
    _LOG.debug("opened the metric %s (%s) on %s in %.2f s", entry.name, entry.value, device, perf_counter() - start)
    return metric


def _measure(metric: Metric, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> object:
    try:
        return metric.measure(base, candidate, prompts)
    except UsageError:
        raise
    except Exception as error:
        raise LoadError(
            f"the metric {metric.name!r} failed on {len(base)} pairs of images",
            f"{type(error).__name__}: {error}",
            _remedy(metric),
        ) from error


def _checked(metric: Metric, values: object) -> dict[str, float]:
    name = metric.name
    if not isinstance(values, Mapping):
        raise _invalid(metric, f"it gives {values!r} instead of values by name")
    for key, value in values.items():
        own = isinstance(key, str) and (key == name or key.startswith(f"{name}.")) and _VALUE_NAME.fullmatch(key)
        if not own:
            raise _invalid(metric, f"it gives a value called {key!r}; a value is called {name!r} or {name + '.part'!r}")
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise _invalid(metric, f"its value {key!r} is {value!r}, which is no finite number")
    return {key: float(value) for key, value in values.items()}


def _invalid(metric: Metric, why: str) -> LoadError:
    return LoadError(f"the metric {metric.name!r} gives values that cannot stand in the evidence", why, _remedy(metric))


def _remedy(metric: Metric) -> str:
    """What to do about a fault of a metric."""
    if isinstance(metric, ReferencedMetric):
        return f"leave --metric={metric.reference} out, or name other weights: these may be damaged"
    return "uninstall its package, or report it to its authors"
