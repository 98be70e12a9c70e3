"""What `--engine` and `--offload` may say. Imports neither torch nor Ray."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection

from dmun_audit._util.errors import UsageError
from dmun_audit.render import devices

LOCAL = "local"
RAY = "ray"
_ADDRESS = re.compile(r"ray://(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}")
OFFLOADS: dict[str, devices.Offload] = {"model": "model", "sequential": "sequential"}
REMEDY = "pip install 'dmun_audit[ray]', or leave --engine out"


def check_engine(engine: str, in_memory: Collection[str] = ()) -> None:
    """Raise UsageError for an engine that does not exist, or that cannot render here. `in_memory` are the sides in memory."""
    if engine == LOCAL:
        return
    if engine != RAY and not _ADDRESS.fullmatch(engine):
        raise UsageError(
            f"--engine={engine} is no engine",
            "",
            "write local, ray, or ray://HOST:PORT; Ray's client port is 10001 if nobody chose another",
        )
    if importlib.util.find_spec("ray") is None:
        raise UsageError(f"--engine={engine} needs Ray", "it is not installed", REMEDY)
    if engine != RAY and importlib.util.find_spec("grpc") is None:
        raise UsageError(f"--engine={engine} needs Ray's client", "the package grpcio is not installed", REMEDY)
    if in_memory:
        raise UsageError(
            f"--engine={engine} cannot render a pipeline in memory",
            f"the {min(in_memory)} is an object of this process, and other processes cannot open it",
            "save it with save_pretrained and give the folder, or leave the engine out",
        )


def check_offload(offload: str | None, engine: str, kind: str) -> devices.Offload | None:
    """Check `--offload`. `kind` is the kind of the candidate's reference. Raises UsageError if this machine or model cannot be offloaded."""
    if offload is None:
        return None
    way = OFFLOADS.get(offload)
    if way is None:
        raise UsageError(f"--offload={offload} is no way to offload", "", f"write {' or '.join(OFFLOADS)}")
    if engine != LOCAL:
        raise UsageError(
            f"--offload={offload} and --engine={engine} are given together",
            "renderers of a cluster hold whole models on their devices",
            "leave one of them out",
        )
    if kind == "hook":
        raise UsageError(
            f"--offload={offload} cannot offload a Python function",
            "its code may hold weights that nobody else can move",
            "call enable_model_cpu_offload() in a function draw(prompts, seeds) of yours, and leave --offload out",
        )
    if not devices.sees_gpu():
        raise UsageError(
            f"--offload={offload} needs a GPU",
            "torch sees none here, and models are in main memory already",
            "leave --offload out, or install torch with CUDA or ROCm",
        )
    return way


def refuse_workers(engine: str) -> None:
    """Raise UsageError for the workers of pytest-xdist beside Ray."""
    if engine != LOCAL:
        raise UsageError(
            f"--engine={engine} and -n are given together",
            "Ray already spreads the work over processes and machines",
            "leave -n out",
        )
