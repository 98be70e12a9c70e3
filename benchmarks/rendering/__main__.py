"""Measures how fast an audit's engine draws beside plain loops, on the atelier and on pipelines of published sizes.

    python -m benchmarks.rendering [--device cuda|cpu] [--families atelier,sd15,sdxl,flux] [--minutes 8] [--out FOLDER]

One run measures, for each family:

- the rate of large products of matrices in the same number format (the share of it that each line reaches stands beside the line)
- images a second of a loop that calls the pipeline once for each prompt, as peers do; of plain batched calls; of the engine with its
  store, at each level of `sampling.acceleration` (the first batch, which compiles, is timed apart); of variants that no level has
- seconds outside denoising, by kind; the peak of memory
- the same for judging alone

The atelier is the model that ships with the package; the others have random weights, and none are downloaded. On a GPU the pipelines are
whole, in bfloat16. On a CPU nothing is compiled, numbers are float32, and all pipelines but the atelier are narrow, so that the script can
be rehearsed in a few minutes: the figures of the narrow ones say nothing of real models. It prints Markdown tables, and writes `rendering.json` into
FOLDER. A family that comes after `--minutes` are over is left out, and so is a line; the table says so.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.rendering.families import FAMILIES, Family, weights_of
from benchmarks.rendering.timing import by_kind, finish, flop_of, matrix_rate, peak_memory, reset_memory
from benchmarks.rendering.variants import VARIANTS
from dmun_audit.judge.preprocessing import WithPillow, preparation
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.models.references import ModelReference
from dmun_audit.plan.case import ImageRequest
from dmun_audit.policy import Sampling
from dmun_audit.render.acceleration import Level, accelerate, decodes_in_slices, keep_compiled_code
from dmun_audit.render.devices import choose_device, describe_hardware, use_threads
from dmun_audit.render.engine import Engine
from dmun_audit.store.images import ImageStore

WORDS = ("house", "boat", "tree", "mountain", "bridge", "cat", "fish", "moon")


@dataclass
class Bench:
    """What all lines of one family share."""

    family: Family
    pipeline: Any
    device: str
    steps: int
    side: int
    batch: int
    flop: float  # of one image
    rate: float  # FLOP a second

    def prompts(self, count: int, first: int = 0) -> list[str]:
        """Different prompts."""
        return [f"a painting of a {WORDS[i % len(WORDS)]} number {i}" for i in range(first, first + count)]

    def call(self, prompts: list[str], pipeline: Any = None, **settings: Any) -> Any:
        """One plain call of the pipeline."""
        pipeline = pipeline or self.pipeline
        with torch.inference_mode():
            return pipeline(
                prompts,
                generator=[torch.Generator("cpu").manual_seed(i) for i in range(len(prompts))],
                **{
                    "num_inference_steps": self.steps,
                    "guidance_scale": self.family.guidance,
                    "height": self.side,
                    "width": self.side,
                }
                | settings,
            )

    def line(self, name: str, images: int, seconds: float, first: float | None = None) -> dict[str, Any]:
        """A line of the table."""
        return {
            "how": name,
            "images": images,
            "seconds": seconds,
            "images_a_second": images / seconds,
            "share_of_rate": images / seconds * self.flop / self.rate,
            "first_batch_seconds": first,
            "peak_bytes": peak_memory(self.device),
        }


def measure(family: Family, device: str, over: Callable[[], bool], images: int, variants: list[str]) -> dict[str, Any]:
    """All lines of one family."""
    whole = device == "cuda" or family.is_small
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    started = time.perf_counter()
    with weights_of(dtype, device):
        pipeline = family.build(whole).to(device)
    pipeline.set_progress_bar_config(disable=True)
    finish(device)
    built = time.perf_counter() - started
    bench = Bench(
        family,
        pipeline,
        device,
        steps=family.steps if whole else 3,
        side=family.side if whole else 64,
        batch=family.batch if whole else 4,
        flop=0.0,
        rate=matrix_rate(device, dtype),
    )
    bench.flop = _flop(bench)
    bench.call(bench.prompts(1), num_inference_steps=1)  # warm
    lines = list(_lines(bench, over, images, variants))
    parameters = sum(
        each.numel() for part in pipeline.components.values() if isinstance(part, torch.nn.Module) for each in part.parameters()
    )
    return {
        "family": family.name,
        "parameters": parameters,
        "build_seconds": built,
        "flop_an_image": bench.flop,
        "matrix_rate": bench.rate,
        "steps": bench.steps,
        "side": bench.side,
        "batch": bench.batch,
        "dtype": str(dtype),
        "lines": lines,
        "kinds": _kinds(bench),
    }


def _flop(bench: Bench) -> float:
    """FLOP of one image: of a call with two steps, and of each further step."""
    two = flop_of(lambda: bench.call(bench.prompts(1), num_inference_steps=2))
    three = flop_of(lambda: bench.call(bench.prompts(1), num_inference_steps=3))
    return two + (three - two) * (bench.steps - 2)


def _lines(bench: Bench, over: Callable[[], bool], images: int, variants: list[str]) -> Iterator[dict[str, Any]]:
    few = max(2, images // 8)
    reset_memory(bench.device)
    started = time.perf_counter()
    for prompt in bench.prompts(few):
        bench.call([prompt])
    finish(bench.device)
    yield bench.line("a loop over prompts", few, time.perf_counter() - started)
    reset_memory(bench.device)
    started = time.perf_counter()
    bench.call(bench.prompts(bench.batch))
    finish(bench.device)
    yield bench.line("a batched call", bench.batch, time.perf_counter() - started)
    levels: tuple[Level, ...] = ("none", "layout", "compiled")
    for level in levels:
        yield _line(f'the engine, acceleration = "{level}"', over, partial(_engine, bench, bench.pipeline, images, level))
    for name in variants:
        yield _line(f"… layout, {name}", over, partial(_variant, bench, name, images))


def _line(name: str, over: Callable[[], bool], measured: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """The line of that name, or why it is left out."""
    if over():
        return {"how": name, "left_out": "the time was over"}
    torch.compiler.reset()
    try:
        return measured(name)
    except Exception as error:  # a way that this family or device does not take
        return {"how": name, "left_out": f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"}
    finally:
        gc.collect()


def _variant(bench: Bench, variant: str, images: int, name: str) -> dict[str, Any]:
    """The engine with a pipeline that was changed before."""
    pipeline = copy.deepcopy(bench.pipeline)
    accelerate(pipeline, "layout", decodes_in_slices(bench.batch * bench.side**2))
    VARIANTS[variant](pipeline)
    return _engine(bench, pipeline, images, "none", name)


def _engine(bench: Bench, pipeline: Any, images: int, level: Level, name: str) -> dict[str, Any]:
    """The engine with its store: prompts read once each, PNG files written."""
    reset_memory(bench.device)
    dtype: Any = "bfloat16" if bench.device == "cuda" else "float32"
    sampling = Sampling(bench.steps, bench.family.guidance, bench.batch, 1, dtype, size=bench.side, acceleration=level)
    model = LoadedModel(ModelReference(bench.family.name, "memory", None, ""), pipeline, "", name, {})
    with tempfile.TemporaryDirectory() as place:
        engine = Engine({"base": model}, sampling, ImageStore(Path(place)))

        def draw(first: int, count: int) -> float:
            row = [ImageRequest("base", prompt, 0, i) for i, prompt in enumerate(bench.prompts(count, first))]
            finish(bench.device)
            started = time.perf_counter()
            engine.ensure(row)
            finish(bench.device)
            return time.perf_counter() - started

        cold = draw(0, bench.batch)
        whole_batches = max(1, images // bench.batch) * bench.batch
        seconds = draw(bench.batch, whole_batches)
    return bench.line(name, whole_batches, seconds, cold)


def _kinds(bench: Bench) -> dict[str, float]:
    """Seconds of one batch in the engine by kind of work, and the rest: schedulers, PNG files, the store."""
    with by_kind(bench.pipeline, bench.device) as seconds:
        whole = _engine(bench, bench.pipeline, bench.batch, "none", "kinds")
    batches = 2  # `_engine` draws one batch before it measures
    total = whole["seconds"] + whole["first_batch_seconds"]
    return {kind: value / batches for kind, value in seconds.items()} | {"rest": (total - sum(seconds.values())) / batches}


def judging(device: str, images: int) -> dict[str, Any]:
    """Images a second of a CLIP judge of the size of ViT-L/14 (ViT-B/32 on a CPU), from pixels to embeddings, with random weights."""
    import numpy as np
    import open_clip

    name = "ViT-L-14" if device == "cuda" else "ViT-B-32"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
    pixels = list(np.random.default_rng(0).integers(0, 256, (images, 512, 512, 3), np.uint8))

    def seconds(work: Callable[[], Any]) -> float:
        work()  # warm
        finish(device)
        started = time.perf_counter()
        work()
        finish(device)
        return time.perf_counter() - started

    with torch.inference_mode():
        pillow, own = WithPillow(preprocess, "cpu"), preparation(preprocess, device)
        batch = own(pixels)
        return {
            "model": name,
            "images": images,
            "pillow_seconds": seconds(lambda: pillow(pixels)),
            "preparing_seconds": seconds(lambda: own(pixels)),
            "encoding_seconds": seconds(lambda: model.encode_image(batch)),
        }


def show(result: dict[str, Any]) -> None:
    """Print the table of one family."""
    print(
        f"\n### {result['family']}: {result['parameters'] / 1e6:,.0f} million numbers, {result['side']}², {result['steps']} steps, batch "
        f"{result['batch']}, {result['dtype'].removeprefix('torch.')}, {result['flop_an_image'] / 1e12:.3g} TFLOP an image, products of "
        f"matrices at {result['matrix_rate'] / 1e12:.3g} TFLOP/s\n"
    )
    print(
        "| how | images | images/s | times the loop | share of the rate | first batch | peak |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    loop = result["lines"][0]["images_a_second"]
    for line in result["lines"]:
        if "left_out" in line:
            print(f"| {line['how']} | – | {line['left_out']} | | | | |")
            continue
        first = line["first_batch_seconds"]
        print(
            f"| {line['how']} | {line['images']} | {line['images_a_second']:.3g} | {line['images_a_second'] / loop:.2f} | "
            f"{line['share_of_rate']:.1%} | {'' if first is None else f'{first:.1f} s'} | {line['peak_bytes'] / 1e9:.1f} GB |"
        )
    total = sum(result["kinds"].values())
    kinds = ", ".join(f"{kind} {seconds:.2f} s ({seconds / total:.1%})" for kind, seconds in result["kinds"].items())
    print(f"\nOne batch of the engine: {kinds}.", flush=True)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where torch sees a GPU")
    parser.add_argument("--families", default="atelier,sd15,sdxl,flux")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="which, in order (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=8.0, help="nothing further begins after them")
    parser.add_argument("--images", type=int, default=32, help="images that the engine draws for a line (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path())
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keep_compiled_code(Path(folder))  # the first batch compiles everything, whatever was compiled before this run
        _measure_all(chosen, chosen.device or choose_device())


def _measure_all(chosen: argparse.Namespace, device: str) -> None:
    use_threads(1)
    if device == "cpu":
        torch.compiler.set_stance("force_eager")
    end = time.monotonic() + 60 * chosen.minutes

    def over() -> bool:
        return time.monotonic() > end

    report: dict[str, Any] = {"hardware": describe_hardware(), "torch": torch.__version__, "device": device, "families": []}
    print(f"{report['hardware']}, torch {torch.__version__}, {device}")
    for family in FAMILIES:
        if family.name in chosen.families.split(",") and not over():
            result = measure(family, device, over, chosen.images, list(filter(None, chosen.variants.split(","))))
            report["families"].append(result)
            show(result)
            gc.collect()
            (chosen.out / "rendering.json").write_text(json.dumps(report, indent=1) + "\n")
    report["judging"] = judging(device, 256 if device == "cuda" else 8)
    judged = report["judging"]
    print(
        f"\nJudging with {judged['model']}: {judged['images'] / judged['pillow_seconds']:.3g} images/s prepared with Pillow on one "
        f"core, {judged['images'] / judged['preparing_seconds']:.3g} images/s prepared as the judge does on this device, "
        f"{judged['images'] / judged['encoding_seconds']:.3g} images/s encoded."
    )
    (chosen.out / "rendering.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
