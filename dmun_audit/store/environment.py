"""The software and the device of this process, as far as they decide pixels and embeddings: a part of every key."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

PIXELS = ("torch", "diffusers", "transformers", "tokenizers", "numpy", "scipy")
EMBEDDINGS = ("torch", "torchvision", "transformers", "tokenizers", "numpy", "pillow", "open_clip_torch", "timm", "onnxruntime")


def rendering_environment(device: str) -> dict[str, str]:
    """What decides a pixel beside model, prompt, seed and sampling: versions of libraries, and the device.

    `device` is torch's name of one. Values are texts by name; a package that is not installed has none.
    """
    return _versions(PIXELS) | _device(device)


def judging_environment(device: str) -> dict[str, str]:
    """What decides an embedding or a score beside the judge and the pixels. See `rendering_environment`.

    On an NVIDIA or AMD GPU, images for CLIP are prepared there (`judge.preprocessing`).
    """
    prepared = {"images": "prepared on the device"} if device.startswith("cuda") else {}
    return _versions(EMBEDDINGS) | _device(device) | prepared


@cache
def version(package: str) -> str:
    """The installed version of a package; empty where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    versions = {package: version(package) for package in packages}
    return {package: text for package, text in versions.items() if text}


def _device(device: str) -> dict[str, str]:
    """The device by name, and torch's precision of matrix products.

    Two CPUs of other models may give other last bits even with the same instructions: libraries cut sums by the size of caches.
    """
    import torch

    precision = {"precision": _read(torch.get_float32_matmul_precision)}
    if device == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        return precision | {"device": f"cpu {platform.machine()} {capability} {_processor()}".strip()}
    if device.startswith("cuda"):
        import torch.version

        return precision | {
            "device": f"cuda {torch.cuda.get_device_name(device)}",
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
            "tf32": ", ".join(
                map(_read, (lambda: torch.backends.cuda.matmul.allow_tf32, lambda: torch.backends.cudnn.allow_tf32))
            ),
        }
    return precision | {"device": f"{device} {platform.machine()} {platform.platform()}"}


def _read(setting: Callable[[], Any]) -> str:
    """A setting of torch as text. torch refuses to name some of them after they were set in two ways."""
    try:
        return str(setting())
    except RuntimeError:
        return "mixed"


@cache
def _processor() -> str:
    """The model of the CPU, as Linux names it; Python's name of it elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor()
