"""What the profile fast gains and what it changes: the same audits under both profiles.

    python -m benchmarks.profiles [MODEL …] [--policy=smoke] [--batch=4]

It audits each MODEL (four of the atelier, if none is given) under fidelity and under fast, in an empty store. A row says how many CPU
seconds the pipelines take for an image, how near the images of the same prompt and seed are (PSNR), and which verdicts differ.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import dmun_audit
from benchmarks.overhead import timed
from dmun_audit.evidence.run import Run
from dmun_audit.policy import Policy, load_policy
from dmun_audit.render.sampling import PipelineSampler

MODELS = ("atelier:base", "atelier:uce-van-gogh", "atelier:noop", "atelier:damaged")
PROFILES = ("fidelity", "fast")


def pixels(run: Run) -> dict[tuple[str, str, int | None], np.ndarray]:
    """The images that a run folder keeps, by side, prompt and seed."""
    records = [image for case in run.cases for image in case.images]
    files = {(image.model, image.prompt, image.seed): run.image(image.key) for image in records}
    return {place: np.asarray(Image.open(file), np.float64) for place, file in files.items() if file is not None}


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two images in decibels; infinite if they are the same."""
    error = float(np.mean((one - other) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def compared(model: str, policy: Policy, folder: Path, seconds: dict[str, float]) -> str:
    """Audit one model under both profiles. Returns a row of the table."""
    runs, costs = {}, {}
    for profile in PROFILES:
        seconds.clear()
        result = dmun_audit.audit(
            model,
            policy=policy,
            target="Van Gogh",
            profile=profile,
            store=folder / "store",
            audit_dir=folder / f"{model.rpartition(':')[2]}-{profile}",
            keep_going=True,
        )
        runs[profile], costs[profile] = result.run, seconds["rendering"] / max(1, result.manifest.images["rendered"])
    one, other = (pixels(runs[profile]) for profile in PROFILES)
    near = [psnr(one[place], other[place]) for place in one.keys() & other.keys()]
    verdicts = [{case.case_id: case.verdict for case in runs[profile].cases} for profile in PROFILES]
    both = verdicts[0].keys() & verdicts[1].keys()
    differing = sorted(case_id for case_id in both if verdicts[0][case_id] != verdicts[1][case_id])
    slow, quick = costs.values()
    speed = f"{slow:.2f} s | {quick:.2f} s | {slow / quick:.2f}" if quick else "same images as before | |"
    return (
        f"| {model} | {speed} | {statistics.median(near):.1f} dB of {len(near)} "
        f"| {runs['fidelity'].verdict} | {runs['fast'].verdict} | {len(differing)} of {len(both)} {' '.join(differing)} |"
    )


def main() -> None:
    """Audit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--policy", default="smoke")
    parser.add_argument(
        "--batch", type=int, default=4, help="instead of the policy's: a batch is always drawn whole (default: 4)"
    )
    arguments = parser.parse_args()
    policy = load_policy(arguments.policy)
    policy = replace(policy, sampling=replace(policy.sampling, batch=arguments.batch))
    seconds: dict[str, float] = defaultdict(float)
    setattr(PipelineSampler, "sample", timed(PipelineSampler.sample, "rendering", seconds))  # noqa: B010
    print("| model | fidelity, per image | fast | ratio | PSNR, median | fidelity | fast | cases with another verdict |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        for model in arguments.models:
            print(compared(model, policy, Path(made), seconds), flush=True)


if __name__ == "__main__":
    main()
