"""How time and memory of an audit grow with its cases, and with the images in its store.

    python -m benchmarks.growth [--cases 10,100,1000] [--images 1000,10000,100000]

The images are small pictures of coloured fields: a stand-in for the sampler makes them, so that no time goes into rendering. Nothing
else is a stand-in. The audit loads and proves its models; it uses the store, the judge and the reports of every audit. Each audit of the
tables has a warm store and a process of its own. Seconds are CPU seconds, so they hardly depend on what else the machine does. The start-up of
pytest with this plugin comes last. It takes a few minutes on two cores and prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np

SIDE = 64  # pixels of an image that an audit draws
SMALL = 8  # pixels of an image that only fills the store
DIMENSION = 128  # of the embeddings that only fill the store
PACK = "atelier-van-gogh"
FEW = 10  # cases of the audits over stores of different sizes


class StandIn:
    """A sampler that draws coloured fields, other ones for each prompt and seed."""

    def __init__(self) -> None:
        self.settings = {"sampler": "stand-in"}
        self.size = (SIDE, SIDE)

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray]:
        """See `render.sampling.Sampler`."""
        return [_fields(seed) for seed in seeds]


def _fields(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.kron(small, np.ones((SIDE // 8, SIDE // 8, 1), np.uint8))


def audit(cases: int, store: Path, folder: Path) -> None:
    """Audit a model with that number of adversarial prompts in this process."""
    import dmun_audit
    from dmun_audit.knowledge.packs import open_knowledge
    from dmun_audit.policy import load_policy
    from dmun_audit.render import engine

    pack, policy = open_knowledge(PACK), load_policy("smoke")
    first = pack.adversarial[0]
    prompts = tuple(first.model_copy(update={"text": f"{first.text}, number {number}"}) for number in range(cases))
    adversarial = replace(policy.adversarial, prompts=cases, validation_images=2, valid_at=2, minimum_valid=1, images=cases)
    with patch.object(engine, "open_sampler", lambda *model, **settings: StandIn()):
        dmun_audit.audit(
            "atelier:noop",
            dossier=pack.model_copy(update={"adversarial": prompts}),
            policy=replace(policy, adversarial=adversarial, images_at_most=100 + 10 * cases),
            store=store,
            audit_dir=folder,
            keep_going=True,
        )


def fill(store: Path, start: int, end: int) -> None:
    """Store images under the numbers from `start` to `end`. The judge's file gets an embedding for each."""
    from dmun_audit._util.hashing import digest
    from dmun_audit.store.embeddings import EmbeddingStore
    from dmun_audit.store.images import ImageStore

    images, pixels = ImageStore(store), np.zeros((SMALL, SMALL, 3), np.uint8)
    keys = [digest(["growth", number]) for number in range(start, end)]
    for key in keys:
        images.write(key, pixels, {})
    vectors = dict.fromkeys(keys, np.zeros(DIMENSION, np.float32))
    for embeddings in (store / "embeddings").glob("*.sqlite"):
        ours = EmbeddingStore(store, "growth")
        ours.path = embeddings  # the file of the judge: its rows lie among these
        ours.write(vectors)


LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""
"""A small process that starts a command. The system counts the memory of the starting process in the peak of the started one."""


def measured(command: Sequence[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak megabytes of a Python command in a process of its own."""
    started = time.monotonic()
    launched = subprocess.run([sys.executable, "-c", LAUNCHER, sys.executable, *command], stdout=subprocess.PIPE, check=True)
    status, seconds, peak = json.loads(launched.stdout)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.monotonic() - started, seconds, peak


def row(count: int, figures: tuple[float, float, float]) -> None:
    """Print one line of a table."""
    wall, processor, peak = figures
    print(f"| {count:,} | {wall:.1f} | {processor:.1f} | {peak:.0f} |", flush=True)


def growth(counts: Sequence[int], seconds: Sequence[float]) -> str:
    """The time of each further one, between every two counts that follow each other. Equal times: the time is linear."""
    steps = zip(pairwise(counts), pairwise(seconds), strict=True)
    each = [1000 * (later - earlier) / (more - fewer) for (fewer, more), (earlier, later) in steps]
    return "CPU milliseconds of each further one: " + ", ".join(f"{milliseconds:.2f}" for milliseconds in each)


def by_cases(counts: Sequence[int], folder: Path) -> None:
    """Print the table over the number of cases."""
    print("| cases | seconds | CPU seconds | peak MB |\n|---:|---:|---:|---:|", flush=True)
    _audited(counts[-1], folder, "first")  # fills the store
    seconds = []
    for count in counts:
        figures = _audited(count, folder, f"run-{count}")
        seconds.append(figures[1])
        row(count, figures)
    print(growth(counts, seconds), "\n", flush=True)


def by_images(counts: Sequence[int], folder: Path) -> None:
    """Print the table over the number of images in the store."""
    print("| images in the store | seconds | CPU seconds | peak MB |\n|---:|---:|---:|---:|", flush=True)
    _audited(FEW, folder, "first")
    start, seconds = 0, []
    for count in counts:
        fill(folder / "store", start, count)
        start = count
        figures = _audited(FEW, folder, f"run-{count}")
        seconds.append(figures[1])
        row(count, figures)
    print(growth(counts, seconds), "\n", flush=True)


def _audited(count: int, folder: Path, run: str) -> tuple[float, float, float]:
    return measured(["-m", "benchmarks.growth", "--one", str(count), str(folder / "store"), str(folder / run)])


def start_up() -> None:
    """Print the table of what takes no audit."""
    print("| start-up | seconds | CPU seconds | peak MB |\n|---|---:|---:|---:|")
    for option in ("--help", "--collect-only"):
        wall, processor, peak = measured(["-m", "pytest", "audits/", option, "-q", "-p", "no:cacheprovider"])
        print(f"| `pytest audits/ {option}` | {wall:.1f} | {processor:.1f} | {peak:.0f} |", flush=True)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="10,100,1000", help="numbers of cases; empty: no such table")
    parser.add_argument("--images", default="1000,10000,100000", help="numbers of images in the store; empty: no such table")
    parser.add_argument("--one", nargs=3, metavar=("CASES", "STORE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        count, store, run = arguments.one
        audit(int(count), Path(store), Path(run))
        return
    for table, text in ((by_cases, arguments.cases), (by_images, arguments.images)):
        if text:
            with tempfile.TemporaryDirectory() as made:
                table([int(number) for number in text.split(",")], Path(made))
    start_up()


if __name__ == "__main__":
    main()
