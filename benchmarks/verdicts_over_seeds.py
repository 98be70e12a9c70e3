"""Audits one model with many audit seeds and prints the verdicts.

    python -m benchmarks.verdicts_over_seeds --model=atelier:uce-van-gogh --seeds=1-20

Every audit is a separate `pytest audits/` with fresh images. Existing results in the output folder are reused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path


def audit(model: str, seed: int, out: Path, policy: str, workers: int) -> dict[str, object]:
    """Run one audit and return its line of the table."""
    folder = out / f"{model.replace(':', '-').replace('/', '_')}-{policy}-{seed}"
    manifest = folder / "manifest.json"
    if not manifest.exists() or json.loads(manifest.read_text())["exit_code"] is None:
        command = [sys.executable, "-m", "pytest", "audits/", "-q", f"--model={model}", f"--audit-seed={seed}"]
        command += [f"--policy={policy}", f"--audit-dir={folder}", f"--store={out / 'store'}", "-n", str(workers)]
        subprocess.run(command, capture_output=True, text=True, check=False)
    content = json.loads(manifest.read_text())
    records = [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]
    pooled = {r["group"]: r["claim"] for r in records if r["pooled"] and r["claim"].get("hits") is not None}
    counts = {group: f"{claim['hits']}/{claim['trials']}" for group, claim in pooled.items()}
    return {"seed": seed, "verdict": content["verdict"], "exit": content["exit_code"], **counts}


def main() -> None:
    """Run all seeds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="atelier:uce-van-gogh")
    parser.add_argument("--policy", default="standard")
    parser.add_argument("--seeds", default="1-20", help="first-last (default: 1-20)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("audit-runs/over-seeds"))
    arguments = parser.parse_args()
    first, last = map(int, arguments.seeds.split("-"))
    rows = []
    for seed in range(first, last + 1):
        rows.append(audit(arguments.model, seed, arguments.out, arguments.policy, arguments.workers))
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    counts = Counter(str(row["verdict"]) for row in rows)
    print(
        f"{arguments.model}, policy {arguments.policy}, {len(rows)} audit seeds: "
        + ", ".join(f"{n} {v}" for v, n in counts.items())
    )


if __name__ == "__main__":
    main()
