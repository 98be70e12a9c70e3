"""The log of an audit with pytest's `--log-level`: a file for each process in the run folder."""

from __future__ import annotations

import logging
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def open_log(run_folder: Path, worker: str, level: str) -> logging.Handler:
    """Begin to write log messages of the package from `level` on to `logs/WORKER.log` in the run folder."""
    path = run_folder / "logs" / f"{worker}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    logger = logging.getLogger("dmun_audit")
    logger.addHandler(handler)
    logger.setLevel(int(level) if level.isdigit() else level.upper())
    return handler
