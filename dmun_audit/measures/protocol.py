"""The public contract of metrics: what else an audit measures between base images and candidate images.

A metric is reported for every nearby concept. It decides no verdict. Another package adds one in three steps.

1. It implements `Metric`.
2. It writes a factory, `factory(device) -> Metric`, as `MetricFactory` says.
3. It registers the factory under the name of the metric, in its own pyproject.toml:

       [project.entry-points."dmun_audit.metrics"]
       contrast = "my_package.contrast:open_metric"

After `pip install my_package`, every audit measures it.

Example of a whole metric:

    >>> import numpy as np
    >>> class Contrast:
    ...     name = "contrast"
    ...     def measure(self, base, candidate, prompts):
    ...         before, after = (np.mean([image.std() for image in side]) for side in (base, candidate))
    ...         return {"contrast.base": before, "contrast.candidate": after}
    >>> def open_metric(device):
    ...     return Contrast()
    >>> grey = np.full((4, 4, 3), 128, np.uint8)
    >>> open_metric("cpu").measure([grey], [grey], ["a house"])["contrast.candidate"]
    np.float64(0.0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from dmun_audit._util.errors import LoadError, UsageError

__all__ = ["LoadError", "Metric", "MetricFactory", "UsageError"]


class Metric(Protocol):
    """A measure of the images of one nearby concept.

    Its values belong to the evidence. Therefore they depend on the images and prompts alone: not on the time, on earlier
    calls, or on random numbers without a fixed seed.
    """

    @property
    def name(self) -> str:
        """The name under which its factory is registered: letters, digits, "_" and "-"."""
        ...

    def measure(self, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> Mapping[str, float]:
        """Finite values of n ≥ 1 pairs of images, by name.

        `base[i]` and `candidate[i]` are images (height, width, 3) uint8 RGB of one prompt, `prompts[i]`, and one seed. All images
        of an audit have one size. The arrays must not be changed. A value is called `NAME` or `NAME.part`, where NAME is the
        name of the metric. A value that these pairs do not allow is left out: one that needs more of them, say. Raises UsageError
        where the metric cannot measure; any other error is reported as a fault of the metric.
        """
        ...


class MetricFactory(Protocol):
    """Opens a registered metric. An entry point of the group `dmun_audit.metrics` names it."""

    def __call__(self, device: str) -> Metric:
        """The metric, on a torch device such as "cpu" or "cuda". Called once in a process, before any image is measured.

        Raises LoadError where the metric cannot be opened, because its weights are missing for example.
        """
        ...
