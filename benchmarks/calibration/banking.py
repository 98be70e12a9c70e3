"""Fills the bank within a budget of minutes and writes it down: `bank.npz`, and `bank.json` that says how it was made."""

from __future__ import annotations

import datetime
import json
import os
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.calibration.bank import BANK_SEED, KINDS, Bank, BatchedEyes, Clock, Studio, kinds_of, questions_of
from benchmarks.calibration.models import Degree, Shelf
from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.plan.plan import make_plan
from dmun_audit.policy import load_policy
from dmun_audit.store.files import write_atomically

PACK = "atelier-van-gogh"
EACH = {"erasure": 200, "validation": 100, "adversarial": 100, "retention": 25}  # images of each prompt
LIBRARIES = ("torch", "diffusers", "transformers", "open_clip_torch", "numpy", "timm")
SECONDS_BETWEEN_WRITES = 15.0


@dataclass
class Ledger:
    """Where the bank's files go, and what they say of how it was made."""

    folder: Path
    facts: dict[str, Any]
    written: float = field(default=0.0)

    def write(self, bank: Bank, clock: Clock, final: bool = False) -> None:
        """Write both files, at most once in SECONDS_BETWEEN_WRITES but for the last time."""
        if not final and time.monotonic() - self.written < SECONDS_BETWEEN_WRITES:
            return
        path = self.folder / "bank.npz"
        partial = path.with_suffix(".partial.npz")
        save: Any = np.savez_compressed if final else np.savez
        save(partial, **bank.arrays())
        partial.replace(path)
        made = bank.images()
        self.facts |= {
            "images": made,
            "seconds": round(clock.spent, 1),
            "images_per_second": round(made / max(self.facts["drawing_seconds"], 1e-9), 1),
        }
        write_atomically(self.folder / "bank.json", (json.dumps(self.facts, indent=1, ensure_ascii=False) + "\n").encode())
        self.written = time.monotonic()


def make_bank(
    degrees: list[Degree], folder: Path, *, device: str, images: dict[str, int], minutes: float, batch: int, rounds: int
) -> Bank:
    """Draw, judge and write. Each round makes one part of every model's images, so that time running out leaves all of them some."""
    clock = Clock(minutes)
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch sees no GPU here", f"torch {torch.__version__}", "draw with --device=cpu")
    exact_float32()
    folder.mkdir(parents=True, exist_ok=True)
    policy, dossier = load_policy("standard"), open_knowledge(PACK)
    plan = make_plan(dossier, policy, BANK_SEED)
    shelf, eyes = Shelf(device), BatchedEyes(dossier, device)
    studio = Studio(shelf, eyes, policy.sampling, batch, device)
    questions = questions_of(plan)
    bank = Bank([degree.name for degree in degrees], questions, images)
    facts = describe(bank, degrees, device, batch)
    facts |= {
        "pack": {"name": PACK, "digest": dossier.digest()},
        "judge": {"digest": eyes.judge.digest},
        "sampler": studio.settings() | {"dtype": policy.sampling.dtype},
    }
    ledger = Ledger(folder, facts)
    print(
        f"opened after {clock.spent:.1f} s: {len(degrees)} models, {len(questions)} prompts, on {facts['hardware']}", flush=True
    )
    done = all(
        _draw_part(
            bank,
            place,
            degree,
            studio,
            shelf,
            ledger,
            clock,
            {kind: _part(count, turn, rounds) for kind, count in images.items()},
        )
        for turn in range(rounds)
        for place, degree in enumerate(degrees)
    )
    facts["complete"] = done
    ledger.write(bank, clock, final=True)
    return bank


def _draw_part(
    bank: Bank, place: int, degree: Degree, studio: Studio, shelf: Shelf, ledger: Ledger, clock: Clock, places: dict[str, range]
) -> bool:
    """Make these images of one model; False, and nothing made, where the time is up."""
    if not clock.allows_more():
        print(f"out of time before {degree.name}", flush=True)
        return False
    started = time.monotonic()
    model, ledger.facts["weights"][degree.name] = shelf.set_to(degree)
    count = studio.fill(bank, place, model, kinds_of(degree), places)
    clock.last = time.monotonic() - started
    ledger.facts["drawing_seconds"] += clock.last
    print(f"{degree.name:<28}{count:6} images {clock.last:6.1f} s  {told(bank, place)}", flush=True)
    ledger.write(bank, clock)
    return True


def _part(images: int, turn: int, rounds: int) -> range:
    return range(images * turn // rounds, images * (turn + 1) // rounds)


def told(bank: Bank, place: int) -> str:
    """One model's rates so far: images over the lowest threshold for each kind, and right labels."""
    shares = []
    for kind in KINDS:
        scores = bank.target[kind][place]
        scores = scores[np.isfinite(scores)]
        if len(scores):
            shares.append(f"{kind} {100 * float(np.mean(scores > 0.2)):.1f}%")
    right = bank.right[place]
    right = right[right <= 1]
    return ", ".join(shares) + (f", right {100 * float(right.mean()):.1f}%" if len(right) else "")


def exact_float32() -> None:
    """No TF32: what is drawn and judged must be as near as can be to what a CPU audit sees. All batches have one shape, though."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def describe(bank: Bank, degrees: list[Degree], device: str, batch: int) -> dict[str, Any]:
    """What, when, where and with what."""
    name = torch.cuda.get_device_name(0) if device == "cuda" else platform.processor() or platform.machine()
    return {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seed": BANK_SEED,
        "models": [{"name": one.name, "origin": one.origin, "moves": [list(move) for move in one.moves]} for one in degrees],
        "questions": {
            kind: [{"prompt": q.prompt, "first": q.first, "concept": q.concept and q.concept.name} for q in asked]
            for kind, asked in bank.questions.items()
        },
        "weights": {},
        "hardware": {"device": name, "cores": os.cpu_count()},
        "batch": batch,
        "tf32": False,
        "libraries": {"python": platform.python_version()} | {library: _version(library) for library in LIBRARIES},
        "drawing_seconds": 0.0,
        "complete": False,
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "missing"
