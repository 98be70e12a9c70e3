"""Measures the time of the default audit: with an empty and a full store, in one process and in two.

python -m benchmarks.wall_time
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(store: Path, folder: Path, workers: int, arguments: list[str]) -> float:
    """Wall time of one audit in seconds, imports and reports included."""
    command = [sys.executable, "-m", "pytest", "audits/", "-q", f"--store={store}", f"--audit-dir={folder}", *arguments]
    started = time.monotonic()
    subprocess.run([*command, "-n", str(workers)], stdout=subprocess.DEVNULL, check=False)
    return time.monotonic() - started


def main() -> None:
    """Print a table. All other arguments are passed to pytest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as made:
        for workers in (2, 0):
            store = Path(made, f"store-{workers}")
            for state in ("empty", "full"):
                wall_time = seconds(store, Path(made, f"run-{workers}-{state}"), workers, arguments)
                print(f"-n {workers}, {state} store: {wall_time:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
