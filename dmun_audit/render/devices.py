"""Where images are made: the device, and the threads that every rendering process uses."""

from __future__ import annotations

import os


def let_idle_threads_sleep() -> None:
    """Make idle OpenMP threads sleep instead of spin. Must run before torch is imported; keeps a user's own setting."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def choose_device() -> str:
    """ "cuda" where torch sees a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def use_threads(count: int) -> None:
    """Render with `count` threads in this process: another number gives other last bits on a CPU."""
    import torch

    torch.set_num_threads(count)


def describe_hardware() -> dict[str, object]:
    """Processor, cores and GPU, for the manifest."""
    import platform

    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count() or 1, "gpu": gpu}
