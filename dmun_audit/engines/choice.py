"""What `--engine` may say. Imports neither torch nor Ray."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection

from dmun_audit._util.errors import UsageError

LOCAL = "local"
RAY = "ray"
_ADDRESS = re.compile(r"ray://(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}")
REMEDY = "pip install 'dmun_audit[ray]', or leave --engine out"


def check_engine(engine: str, in_memory: Collection[str] = ()) -> None:
    """Raise UsageError for an engine that does not exist, or that cannot render here. `in_memory` are the sides in memory."""
    if engine == LOCAL:
        return
    if engine != RAY and not _ADDRESS.fullmatch(engine):
        raise UsageError(f"--engine={engine} is no engine", "", "write local, ray, or ray://HOST:PORT")
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


def refuse_workers(engine: str) -> None:
    """Raise UsageError for the workers of pytest-xdist beside Ray."""
    if engine != LOCAL:
        raise UsageError(
            f"--engine={engine} and -n are given together",
            "Ray already spreads the work over processes and machines",
            "leave -n out",
        )
