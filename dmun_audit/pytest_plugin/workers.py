"""The workers of pytest-xdist in a session with an audit: how many "auto" means, and which GPU each of them sees."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from dmun_audit._util.errors import UsageError

if TYPE_CHECKING:
    from execnet import XSpec

CUDA, HIP = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"
"""The variables with the GPUs that a process may see, as numbers, UUIDs or names of MIG instances. torch for AMD prefers the second."""


def number_of_workers(config: pytest.Config) -> int | None:
    """The workers of `-n auto`: one for each visible GPU; without a GPU, as many as use all cores with the threads of the policy.

    None leaves the number to pytest-xdist, which the user may have told it.
    """
    if config.option.numprocesses != "auto" or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    if gpus := visible_gpus(os.environ, count_gpus):
        return len(gpus)
    from xdist.plugin import pytest_xdist_auto_num_workers as cores

    from dmun_audit.policy import Policy, load_policy
    from dmun_audit.pytest_plugin.options import given_options

    try:
        given = given_options(config).shared.policy
        policy = given if isinstance(given, Policy) else load_policy(given or "standard")
    except UsageError:
        return 1  # the session reports it before a worker starts
    return max(1, cores(config) // policy.sampling.threads)


def visible_gpus(environment: Mapping[str, str], count: Callable[[], int]) -> list[str]:
    """The GPUs that this process may see, in its order and as the caller names them. `count` gives the number that torch sees."""
    named = environment.get(variable(environment))
    if named is None:
        return [str(place) for place in range(count())]
    gpus: list[str] = []
    for name in (each.strip() for each in named.split(",")):
        if not name or name.startswith("-"):  # CUDA reads the list up to the first entry that is no device
            break
        gpus.append(name)
    return gpus[: count()] if gpus else gpus


def variable(environment: Mapping[str, str]) -> str:
    """The variable that says which GPUs a process sees."""
    return HIP if HIP in environment else CUDA


def count_gpus() -> int:
    """The number of GPUs that torch sees. A CPU build of torch is not imported for that."""
    from dmun_audit.render.devices import gpu

    if gpu() != "cuda":
        return 0
    import torch

    return torch.cuda.device_count()


def assigned(gpus: Sequence[str], workers: int) -> list[str]:
    """One GPU for each worker: the first ones in order, and from the first one again where there are more workers than GPUs."""
    return [gpus[place % len(gpus)] for place in range(workers)] if gpus else []


def share_gpus(config: pytest.Config, specs: Sequence[XSpec]) -> None:
    """Let each worker on this machine see one GPU, before its Python imports anything.

    A worker that replaces a crashed one starts with the same `specs` entry, and so gets its GPU. A GPU that the user gave a worker
    (`--tx`) stays.
    """
    name, gpus = variable(os.environ), visible_gpus(os.environ, count_gpus)
    here: list[Any] = [spec for spec in specs if spec.popen and name not in spec.env]
    for spec, gpu in zip(here, assigned(gpus, len(here)), strict=False):
        spec.env[name] = gpu
    if 0 < len(gpus) < len(here):
        warning = (
            f"{len(here)} workers share {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}, and the memory on {'them' if len(gpus) > 1 else 'it'}: "
            "-n auto starts one worker for each GPU"
        )
        config.issue_config_time_warning(pytest.PytestWarning(warning), stacklevel=2)
