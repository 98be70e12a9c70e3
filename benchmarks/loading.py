"""Measures time and memory of loading a base of the size of Stable Diffusion 1.5 and a candidate that changes 80 of its tensors.

Builds the base with random weights (4.3 GB), and a file with new weights for the cross-attentions of its UNet. Each line of the
table is a process of its own:

- base: the base alone, loaded and proven
- base and candidate: both, as an audit holds them
- inspect: the command `dmun-audit inspect` on the file

The peak is the most memory that the process had at one time (VmHWM), pages of mapped files included. Needs Linux, 5 GB of disk and
8 GB of memory.

    python -m benchmarks.loading [FOLDER]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.inspect_headers import build_base

PEAK = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""
LOAD = """
import sys
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference
base, *candidate = map(parse_reference, sys.argv[1:])
model = load_pipeline(base)
for reference in candidate:
    load_candidate(reference, model)
"""
INSPECT = """
import sys
from contextlib import redirect_stdout
from io import StringIO
from dmun_audit.cli import main
with redirect_stdout(StringIO()):
    assert main(["inspect", sys.argv[2], f"--base={sys.argv[1]}"]) == 0
"""


def write_candidate(pipeline: Any, path: Path) -> None:
    """Write new weights for the cross-attentions of the pipeline's UNet to `path`."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    state = pipeline.unet.state_dict()
    save_file({name: value + 0.01 * torch.randn_like(value) for name, value in state.items() if "attn2" in name}, path)


def measure(code: str, *paths: Path) -> tuple[float, int]:
    """Seconds and bytes at the peak of one process."""
    started = time.monotonic()
    command = [sys.executable, "-W", "ignore", "-c", code + PEAK, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.monotonic() - started, int(done.stdout.split()[-1]) * 1024


def main() -> None:
    """Build, measure, print a Markdown table."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        folder = Path(place)
        base, candidate = folder / "base", folder / "cross-attention.safetensors"
        write_candidate(build_base(folder), candidate)
        model = sum(file.stat().st_size for file in base.rglob("*.safetensors"))
        print(f"model {model / 1e9:.2f} GB, file {candidate.stat().st_size / 1e9:.2f} GB\n")
        print("| what is loaded | seconds | peak | peak / model |\n|---|---:|---:|---:|")
        both = [base, candidate]
        for name, code, paths in (("base", LOAD, [base]), ("base and candidate", LOAD, both), ("inspect", INSPECT, both)):
            seconds, peak = measure(code, *paths)
            print(f"| {name} | {seconds:.0f} | {peak / 1e9:.2f} GB | {peak / model:.2f} |", flush=True)


if __name__ == "__main__":
    main()
