"""Seconds by kind of work, the work in FLOP, and the rate of the device."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dmun_audit.render.defaults import denoiser


def finish(device: str) -> None:
    """Wait until the device has done what it was asked for."""
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def by_kind(pipeline: Any, device: str) -> Iterator[dict[str, float]]:
    """Seconds in text encoders, denoiser and decoder while the context is open. Every call waits for the device, before and after."""
    seconds: dict[str, float] = defaultdict(float)
    wrapped: list[tuple[Any, str, Any]] = []

    def wrap(owner: Any, name: str, kind: str) -> None:
        plain = getattr(owner, name)

        def timed(*inputs: Any, **settings: Any) -> Any:
            finish(device)
            started = time.perf_counter()
            result = plain(*inputs, **settings)
            finish(device)
            seconds[kind] += time.perf_counter() - started
            return result

        setattr(owner, name, timed)
        wrapped.append((owner, name, plain))

    wrap(denoiser(pipeline), "forward", "denoising")
    wrap(pipeline.vae, "decode", "decoding")
    for name in ("text_encoder", "text_encoder_2"):
        if getattr(pipeline, name, None) is not None:
            wrap(getattr(pipeline, name), "forward", "text")
    try:
        yield seconds
    finally:
        for owner, name, plain in wrapped:
            setattr(owner, name, plain)


def flop_of(call: Callable[[], Any]) -> float:
    """Floating-point operations of a call (a multiplication and an addition count as two)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def matrix_rate(device: str, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """FLOP a second of large products of matrices: the best of several rounds."""
    side = 8192 if device == "cuda" else 1024
    one, two = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    repeats = 20 if device == "cuda" else 2
    while time.perf_counter() < end:
        finish(device)
        started = time.perf_counter()
        for _ in range(repeats):
            one @ two
        finish(device)
        best = max(best, 2 * side**3 * repeats / (time.perf_counter() - started))
    return best


def peak_memory(device: str) -> int:
    """Bytes at the peak: of the GPU since the last reset, of the process (VmHWM) on a CPU."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024


def reset_memory(device: str) -> None:
    """Begin a new peak, on a GPU."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
