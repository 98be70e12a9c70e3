"""Time and memory of `dmun-audit report` on 100,000 lines of evidence.

    python -m benchmarks.long_evidence [--lines 100000]

It writes two run folders into a temporary folder. In the first, the lines belong to 500 cases, each written many times, as by an audit that was
stopped and continued. In the second, every line is a case of its own. Each line holds five images. It prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dmun_audit._util.hashing import digest
from dmun_audit.evidence.schema import FORMAT, CaseRecord, ClaimRecord, ImageRecord
from dmun_audit.verdict.vocabulary import Verdict

CASES = 500
IMAGES = 5


def line(number: int) -> str:
    """The evidence line of one case."""
    images = tuple(
        ImageRecord(
            model="candidate",
            prompt=f"a painting of a boat by Van Gogh, {number}",
            index=index,
            seed=index,
            key=digest([number, index]),
            target_score=0.031,
            detected=False,
            clip_score=0.21,
        )
        for index in range(IMAGES)
    )
    claim = ClaimRecord(
        kind="rate_at_most", hits=0, trials=IMAGES, threshold=0.05, estimate=0.0, lower=0.0, upper=0.45, outcomes=(0,) * IMAGES
    )
    record = CaseRecord(
        case_id=f"case-{number}",
        group="erasure",
        title=f"“a painting of a boat by Van Gogh, {number}” no longer shows Van Gogh",
        verdict=Verdict.PASS,
        asked="“a painting of a boat by Van Gogh” no longer shows Van Gogh.",
        seen="0 of 5 candidate images show Van Gogh (0%); with 95% confidence the rate is at most 45%, and the ceiling is 5%.",
        claim=claim,
        images=images,
    )
    return json.dumps(record.to_json()) + "\n"


def measure(folder: Path, lines: int, cases: int) -> tuple[float, float, float]:
    """Megabytes of the evidence, seconds of the report, and the largest memory of its process in megabytes."""
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"format": FORMAT}))
    with (folder / "evidence.jsonl").open("w") as stream:
        stream.writelines(line(number % cases) for number in range(lines))
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "dmun_audit.cli", "report", str(folder)], stdout=subprocess.DEVNULL, check=False)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return (folder / "evidence.jsonl").stat().st_size / 1e6, seconds, peak / 1e6


def main() -> None:
    """Measure both folders and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    lines = parser.parse_args().lines
    print("| lines | cases | evidence | seconds | memory |\n|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for cases in (CASES, lines):  # the system reports the peak over both processes, and the second one takes more memory
            size, seconds, peak = measure(Path(folder, str(cases)), lines, cases)
            print(f"| {lines:,} | {cases:,} | {size:.0f} MB | {seconds:.1f} | {peak:.0f} MB |")


if __name__ == "__main__":
    main()
