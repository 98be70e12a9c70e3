"""Whether an image depends on the other images of its batch, bit by bit.

    python -m benchmarks.batch_neighbours [--model atelier:base] [--device cpu|cuda] [--dtype float32] [--batch 16] [--rows 4]

The script draws reference images in full batches. It draws the same prompts and seeds again, and counts the images whose pixels
are not the same:

- repeated: the same batches once more
- slots: every image in every slot of its batch, among the same neighbours
- neighbours: all images shuffled over all batches
- padded: the last images of a batch left out, and the slots filled with copies of the last prompt, as the sampler does it
- one alone: one image, and the other slots filled with copies of it
- batch of N: batches of another size, for comparison

It prints a Markdown table. Each line says how many images were compared, how many were not the same, and the largest difference
of a pixel's channel (0 to 255).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from dmun_audit.knowledge.packs import find_pack
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.models.loading import load_pipeline
from dmun_audit.models.references import parse_reference
from dmun_audit.policy import Sampling
from dmun_audit.render import devices
from dmun_audit.render.sampling import open_sampler

Image = tuple[str, int]  # prompt, seed
Batch = Sequence[Image]
Pixels = np.ndarray
SHUFFLES = 3
OTHER_SIZES = (1, 4, 8, 32)


def draw(model: LoadedModel, sampling: Sampling, device: str, batches: Iterable[Batch]) -> Iterator[tuple[Image, Pixels]]:
    """Every image of the batches with its pixels."""
    sampler = open_sampler(model, sampling, device)
    for batch in batches:
        pixels = sampler.sample([prompt for prompt, _ in batch], [seed for _, seed in batch])
        yield from zip(batch, pixels, strict=True)


def images(count: int) -> list[Image]:
    """Prompts of the atelier's dossier on Van Gogh, one after the other, each with a seed of its own."""
    dossier = find_pack("Van Gogh", "atelier")
    prompts = [*dossier.target.direct_prompts, *(prompt for concept in dossier.concepts for prompt in concept.prompts)]
    return [(prompts[number % len(prompts)], 1000 + number) for number in range(count)]


def cut(row: Sequence[Image], size: int) -> list[Batch]:
    """The row in batches of `size`."""
    return [row[start : start + size] for start in range(0, len(row), size)]


def arrangements(row: Sequence[Image], size: int) -> Iterator[tuple[str, int, list[Batch]]]:
    """Name, batch size and batches of each experiment."""
    first = row[:size]
    random = np.random.default_rng(0)
    yield "repeated", size, cut(row, size)
    yield "slots", size, [[*first[turn:], *first[:turn]] for turn in range(1, size)]
    yield (
        "neighbours",
        size,
        [batch for _ in range(SHUFFLES) for batch in cut([row[i] for i in random.permutation(len(row))], size)],
    )
    yield "padded", size, [first[:length] for length in range(2, size)]
    yield "one alone", size, [[image] for image in first]
    for other in OTHER_SIZES:
        if other != size:
            yield f"batch of {other}", other, [batch for batch in cut(row, other) if len(batch) == other][: max(1, size // other)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="atelier:base", help="a complete model, as --base takes it")
    parser.add_argument("--device", help="cpu or cuda; cuda where there is one, if not given")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--batch", type=int, default=16, help="slots of a batch")
    parser.add_argument("--rows", type=int, default=4, help="full batches of reference images")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, help="side of the images in pixels; the model's own, if not given")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    device = chosen.device or devices.choose_device()
    devices.use_threads(chosen.threads)
    sampling = Sampling(chosen.steps, "model", chosen.batch, chosen.threads, chosen.dtype, size=chosen.size or "model")
    model = load_pipeline(parse_reference(chosen.model), chosen.dtype, device)
    row = images(chosen.rows * chosen.batch)
    reference = dict(draw(model, sampling, device, cut(row, chosen.batch)))
    print(f"{chosen.model}, {device}, {chosen.dtype}, batch {chosen.batch}, {chosen.steps} steps, {chosen.threads} threads\n")
    print("| images | compared | not the same | largest difference | seconds |\n|---|---:|---:|---:|---:|")
    for name, size, batches in arrangements(row, chosen.batch):
        started = time.monotonic()
        differences = [
            int(np.abs(pixels.astype(int) - reference[image].astype(int)).max())
            for image, pixels in draw(model, replace(sampling, batch=size), device, batches)
        ]
        changed = sum(difference > 0 for difference in differences)
        taken = time.monotonic() - started
        print(f"| {name} | {len(differences)} | {changed} | {max(differences)} | {taken:.0f} |", flush=True)


if __name__ == "__main__":
    main()
