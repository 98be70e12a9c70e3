"""The device that renders, and the number of threads of a process that renders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from dmun_audit._util.errors import UsageError
from dmun_audit.store.environment import version

Offload = Literal["model", "sequential"]
"""What visits the GPU at a time, where models lie in main memory: a network, or a layer."""


def let_idle_threads_sleep() -> None:
    """Make idle OpenMP threads sleep instead of spin. Call it before torch is imported. A user's own setting is kept."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def choose_device() -> str:
    """ "cuda" where torch sees an NVIDIA or AMD GPU, "mps" where it sees Apple's, else "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def gpu() -> str:
    """torch's name of the GPU that draws in this process; empty for a CPU, whose memory is not measured.

    A CPU build of torch says so in its version, and is not imported for that.
    """
    device = "cpu" if version("torch").endswith("+cpu") else choose_device()
    return "" if device == "cpu" else device


def sees_gpu() -> bool:
    """Whether torch sees an NVIDIA or AMD GPU."""
    return gpu() == "cuda"


def number_format(dtype: Literal["auto", "float32", "bfloat16", "float16"]) -> Literal["float32", "bfloat16", "float16"]:
    """The number format of weights and activations on this machine: `dtype`, or what suits the device if it is "auto"."""
    if dtype != "auto":
        return dtype
    if not sees_gpu():
        return "float32"
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def acceleration(level: Literal["auto", "none", "layout", "compiled"]) -> Literal["none", "layout", "compiled"]:
    """How pipelines are made faster on this machine: `level`, or what suits the device if it is "auto"."""
    if level != "auto":
        return level
    return "layout" if sees_gpu() else "none"


def use_threads(count: int) -> None:
    """Render with `count` threads in this process. On a CPU, another number of threads gives other last bits."""
    import torch

    torch.set_num_threads(count)


def describe_hardware() -> dict[str, object]:
    """Processor, cores and GPU, for the manifest."""
    import platform

    import torch

    device = choose_device()
    gpus = {"cuda": lambda: torch.cuda.get_device_name(0), "mps": lambda: f"Apple {platform.machine()}"}
    gpu = gpus[device]() if device in gpus else None
    return {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count() or 1, "gpu": gpu}


@contextmanager
def memory_errors(when: str, remedy: str) -> Iterator[None]:
    """Turn torch's error about a device that is out of memory into a UsageError. `when` is such as "while 16 images were drawn"."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UsageError(f"the device ran out of memory {when}", str(error).partition(". ")[0], remedy) from error
