"""Makes the judged images within a time limit: `judged_images.npz`, and `judged_images.json` that says how they were made."""

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

from benchmarks.calibration.batched_judge import BatchedJudge
from benchmarks.calibration.image_maker import IMAGE_SEED, ImageMaker, ImageScores, TimeBudget, judged_prompts, kinds_of
from benchmarks.calibration.judged_images import KINDS, NAME
from benchmarks.calibration.known_models import KnownModel
from benchmarks.calibration.model_maker import ModelMaker
from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.judge.detection import LOWEST_THRESHOLD
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.policy import load_policy
from dmun_audit.store.files import write_atomically

PACK = "atelier-van-gogh"
IMAGES = {"erasure": 200, "validation": 100, "adversarial": 100, "retention": 25}
"""The number of images of each prompt, by kind."""

LIBRARIES = ("torch", "diffusers", "transformers", "open_clip_torch", "numpy", "timm")
SECONDS_BETWEEN_WRITES = 15.0


@dataclass
class Output:
    """The two files of the judged images. `description` is the content of the JSON file."""

    folder: Path
    description: dict[str, Any]
    written: float = field(default=0.0)

    def write(self, scores: ImageScores, time_budget: TimeBudget, final: bool = False) -> None:
        """Write both files, unless they were written less than SECONDS_BETWEEN_WRITES ago. The final write always happens."""
        if not final and time.monotonic() - self.written < SECONDS_BETWEEN_WRITES:
            return
        path = self.folder / f"{NAME}.npz"
        partial = path.with_suffix(".partial.npz")
        save: Any = np.savez_compressed if final else np.savez
        save(partial, **scores.arrays())
        partial.replace(path)
        images = scores.count()
        self.description |= {
            "images": images,
            "seconds": round(time_budget.elapsed, 1),
            "images_per_second": round(images / max(self.description["drawing_seconds"], 1e-9), 1),
        }
        text = json.dumps(self.description, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.folder / f"{NAME}.json", text.encode())
        self.written = time.monotonic()


def make_judged_images(
    models: list[KnownModel],
    folder: Path,
    *,
    device: str,
    images: dict[str, int],
    minutes: float,
    batch: int,
    rounds: int,
) -> ImageScores:
    """Draw, judge and write `images` of each prompt by kind, `batch` at once.

    Each of the `rounds` makes one part of every model's images. So every model has some images if the time runs out. Raises
    UsageError where `device` is "cuda" and torch has no GPU.
    """
    time_budget = TimeBudget(minutes)
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch has no GPU here", f"torch {torch.__version__}", "use --device=cpu")
    use_exact_float32()
    folder.mkdir(parents=True, exist_ok=True)
    policy, dossier = load_policy("standard"), open_knowledge(PACK)
    prompts = judged_prompts(make_plan(dossier, policy, IMAGE_SEED))
    model_maker, judge = ModelMaker(device), BatchedJudge(dossier, device)
    image_maker = ImageMaker(model_maker.base, judge, policy.sampling, batch, device)
    scores = ImageScores([model.name for model in models], prompts, images)
    description = describe(scores, models, device, batch) | {
        "pack": {"name": PACK, "digest": dossier.digest()},
        "judge": {"digest": judge.judge.digest},
        "sampler": image_maker.settings | {"dtype": "float32"},
    }
    output = Output(folder, description)
    print(
        f"opened after {time_budget.elapsed:.1f} s: {len(models)} models, {len(prompts)} prompts, on {description['hardware']}",
        flush=True,
    )

    def make_part(row: int, model: KnownModel, places: dict[str, range]) -> bool:
        """Make these images of one model. False, and no image, where the time is up."""
        if not time_budget.allows_another_step():
            print(f"out of time before {model.name}", flush=True)
            return False
        started = time.monotonic()
        loaded, description["weights"][model.name] = model_maker.make(model)
        count = image_maker.fill(scores, row, loaded, kinds_of(model), places)
        time_budget.last_step = time.monotonic() - started
        description["drawing_seconds"] += time_budget.last_step
        print(f"{model.name:<28}{count:6} images {time_budget.last_step:6.1f} s  {rates_so_far(scores, row)}", flush=True)
        output.write(scores, time_budget)
        return True

    description["complete"] = all(
        make_part(row, model, {kind: _part(count, turn, rounds) for kind, count in images.items()})
        for turn in range(rounds)
        for row, model in enumerate(models)
    )
    output.write(scores, time_budget, final=True)
    return scores


def _part(images: int, turn: int, rounds: int) -> range:
    return range(images * turn // rounds, images * (turn + 1) // rounds)


def rates_so_far(scores: ImageScores, row: int) -> str:
    """One model's rates: detections at the lowest threshold by kind, and recognised concepts."""
    rates = []
    for kind in KINDS:
        target = scores.target[kind][row]
        target = target[np.isfinite(target)]
        if len(target):
            rates.append(f"{kind} {100 * float(np.mean(target > LOWEST_THRESHOLD)):.1f}%")
    recognised = scores.recognised[row]
    recognised = recognised[recognised <= 1]
    if len(recognised):
        rates.append(f"recognised {100 * float(recognised.mean()):.1f}%")
    return ", ".join(rates)


def use_exact_float32() -> None:
    """Switch TF32 off, so that images and scores are as near as possible to an audit's on a CPU."""
    torch.backends.cudnn.benchmark = True  # all batches have one shape
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def describe(scores: ImageScores, models: list[KnownModel], device: str, batch: int) -> dict[str, Any]:
    """What is made, when, and with what hardware and libraries."""
    name = torch.cuda.get_device_name(0) if device == "cuda" else platform.processor() or platform.machine()
    return {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seed": IMAGE_SEED,
        "models": [
            {"name": model.name, "origin": model.origin, "edits": [list(edit) for edit in model.edits]} for model in models
        ],
        "prompts": {
            kind: [
                {
                    "text": prompt.text,
                    "first_index": prompt.first_index,
                    "concept": prompt.concept.name if prompt.concept else None,
                }
                for prompt in prompts
            ]
            for kind, prompts in scores.prompts.items()
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
