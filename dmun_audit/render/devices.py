"""The device that renders, and the number of threads of a process that renders."""

from __future__ import annotations

import os


def let_idle_threads_sleep() -> None:
    """Make idle OpenMP threads sleep instead of spin. Call it before torch is imported. A user's own setting is kept."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def choose_device() -> str:
    """ "cuda" where torch sees a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def use_threads(count: int) -> None:
    """Render with `count` threads in this process. On a CPU, another number of threads gives other last bits."""
    import torch

    torch.set_num_threads(count)


def describe_hardware() -> dict[str, object]:
    """Processor, cores and GPU, for the manifest."""
    import platform

    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count() or 1, "gpu": gpu}
