"""How time and memory of an audit grow with its cases, and with the images in its store.

    python -m benchmarks.growth [--cases 10,100,1000] [--images 1000,10000,100000]

The images are small pictures of coloured fields: a stand-in for the sampler makes them, so that no time goes into rendering. Everything
else is real: models are loaded and proven, and plan, store, judge, evidence and reports are those of an audit. Each audit of the tables
has a warm store and a process of its own. Seconds are CPU seconds, so they hardly depend on what else the machine does. The start-up of
pytest with this plugin comes last. It takes a few minutes on two cores and prints Markdown tables.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
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
    """Put images into the store, and an embedding of each beside those of the judge."""
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


def measured(command: Sequence[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak megabytes of a Python command in a process of its own."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def row(count: int, figures: tuple[float, float, float]) -> None:
    """Print one line of a table."""
    wall, processor, peak = figures
    print(f"| {count:,} | {wall:.1f} | {processor:.1f} | {peak:.0f} |", flush=True)


def exponent(counts: Sequence[int], seconds: Sequence[float]) -> str:
    """How the time grows beyond that of the smallest count: the slope of its logarithm between the two largest counts."""
    first, *others = seconds
    extra = [each - first for each in others]
    milliseconds = 1000 * extra[-1] / (counts[-1] - counts[0])
    if len(extra) < 2 or min(extra[-2:]) <= 0:
        return f"{milliseconds:.2f} ms each"
    slope = np.log(extra[-1] / extra[-2]) / np.log((counts[-1] - counts[0]) / (counts[-2] - counts[0]))
    return f"{milliseconds:.2f} ms each; the time grows with the power {slope:.2f}"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="10,100,1000")
    parser.add_argument("--images", default="1000,10000,100000")
    parser.add_argument("--one", nargs=3, metavar=("CASES", "STORE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        count, store, run = arguments.one
        return audit(int(count), Path(store), Path(run))
    cases, images = ([int(number) for number in text.split(",")] for text in (arguments.cases, arguments.images))
    with tempfile.TemporaryDirectory() as made:
        audits = 0

        def one(count: int, store: Path) -> tuple[float, float, float]:
            nonlocal audits
            audits += 1
            return measured(["-m", "benchmarks.growth", "--one", str(count), str(store), str(Path(made, f"run-{audits}"))])

        store = Path(made, "store")
        print("| cases | seconds | CPU seconds | peak MB |\n|---:|---:|---:|---:|", flush=True)
        one(cases[-1], store)  # fills the store
        by_cases = []
        for count in cases:
            by_cases.append(one(count, store))
            row(count, by_cases[-1])
        print(exponent(cases, [each[1] for each in by_cases]))

        store = Path(made, "filled")
        one(FEW, store)
        print(f"\n{FEW} cases over a larger and larger store:\n", flush=True)
        print("| images in the store | seconds | CPU seconds | peak MB |\n|---:|---:|---:|---:|", flush=True)
        there, filling = 0, []
        for count in images:
            started = time.process_time()
            fill(store, there, count)
            filling.append((time.process_time() - started) / (count - there))
            there = count
            row(count, one(FEW, store))
        print("writing an image and two embeddings: " + ", ".join(f"{1000 * each:.2f}" for each in filling) + " ms of CPU each")

    print("\n| start-up | seconds | CPU seconds | peak MB |\n|---|---:|---:|---:|")
    for option in ("--help", "--collect-only"):
        wall, processor, peak = measured(["-m", "pytest", "audits/", option, "-q", "-p", "no:cacheprovider"])
        print(f"| `pytest audits/ {option}` | {wall:.1f} | {processor:.1f} | {peak:.0f} |", flush=True)
    return None


if __name__ == "__main__":
    main()
