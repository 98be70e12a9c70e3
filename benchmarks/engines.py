"""Measures how much faster a Ray cluster on this machine draws and judges the same images than the local engine.

Each run has an empty store. The engines take turns. Both draw and judge one batch for each renderer before the clock starts, so
that all models are loaded; how long that takes is a column of its own.

python -m benchmarks.engines
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from dmun_audit.engines.cluster import Cluster
from dmun_audit.engines.models_to_load import ModelsToLoad
from dmun_audit.engines.ray_engine import RayEngine
from dmun_audit.judge.batches import BATCH_SIZE
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.models.references import parse_reference
from dmun_audit.models.source_files import read_source
from dmun_audit.plan.case import ImageRequest, Side
from dmun_audit.policy import Sampling, load_policy
from dmun_audit.render import devices
from dmun_audit.render.engine import Engine
from dmun_audit.store.images import ImageStore


@dataclass(frozen=True)
class Measured:
    """Seconds until the models are loaded, and seconds to draw and to judge the images; the embeddings (n, d)."""

    loading: float
    drawing: float
    judging: float
    embeddings: np.ndarray


def row(count: int, first_seed: int) -> list[ImageRequest]:
    """`count` images of the base."""
    return [ImageRequest("base", "a painting of a house", index, first_seed + index) for index in range(count)]


def measured(engine: Engine, judge: ClipJudge, images: int, renderers: int, opened: float) -> Measured:
    """Draw and judge `images` images, after a batch of both kinds for each of the `renderers`. `opened` is when opening began."""

    def embed(requests: list[ImageRequest]) -> np.ndarray:
        keys = [engine.key(request) for request in requests]
        return engine.embed(judge, keys, ()) if isinstance(engine, RayEngine) else judge.embed_images(engine.read(keys))

    warm = row(max(engine.sampling.batch_size, BATCH_SIZE) * renderers, 0)
    engine.ensure(warm)
    rows = 0
    while isinstance(engine, RayEngine) and len(engine._renderers._free) < renderers:  # one of them still loads the models
        rows += 1
        engine.ensure(row(engine.sampling.batch_size, 1_000 * rows))
    embed(warm)
    ready = time.monotonic()
    requests = row(images, 1_000_000)
    engine.ensure(requests)
    drawn = time.monotonic()
    vectors = embed(requests)
    return Measured(ready - opened, drawn - ready, time.monotonic() - drawn, vectors)


def compare(model: str, sampling: Sampling, images: int, repeats: int) -> dict[str, list[Measured]]:
    """Measure each engine in turn, and print each measurement. Raises AssertionError if two engines give different embeddings."""
    device = devices.choose_device()
    sampling = replace(sampling, dtype=devices.number_format(sampling.dtype))
    planned = {side: read_source(parse_reference(model)) for side in ("base", "candidate")}
    to_load = ModelsToLoad(model, model, planned, sampling.dtype, trust_remote_code=False)
    loaded = to_load.load_base(device)
    models: dict[Side, LoadedModel] = {"base": loaded, "candidate": loaded}
    judge = ClipJudge("atelier:judge" if model.startswith("atelier:") else "open_clip:ViT-B-32/laion2b_s34b_b79k", device)
    found: dict[str, list[Measured]] = {"local": [], "ray": []}
    with closing(Cluster("ray", sampling.threads)) as cluster, tempfile.TemporaryDirectory() as made:
        for place in range(repeats):
            store = ImageStore(Path(made, str(place)))
            started = time.monotonic()
            found["local"].append(measured(Engine(models, sampling, store), judge, images, 1, started))
            with ExitStack() as opened:
                store, started = ImageStore(Path(made, f"ray-{place}")), time.monotonic()
                ray_engine = opened.enter_context(closing(RayEngine(cluster, to_load, models, sampling, store)))
                found["ray"].append(measured(ray_engine, judge, images, cluster.most, started))
            for engine, runs in found.items():
                last = runs[-1]
                print(
                    f"{engine}: loading {last.loading:.1f} s, drawing {last.drawing:.1f} s, judging {last.judging:.1f} s",
                    flush=True,
                )
            assert np.array_equal(found["local"][-1].embeddings, found["ray"][-1].embeddings) or device != "cpu"
    return found


def main() -> None:
    """Print each run, and a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="atelier:base")
    parser.add_argument("--policy", default="standard", help="its section [sampling] says how images are made")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    devices.let_idle_threads_sleep()
    sampling = load_policy(arguments.policy).sampling
    devices.use_threads(sampling.threads)
    found = compare(arguments.model, sampling, arguments.images, arguments.repeats)

    def middle(engine: str, seconds: Callable[[Measured], float]) -> float:
        return median(map(seconds, found[engine]))

    print(f"{arguments.images} images of {arguments.model}, medians of {arguments.repeats} runs, in seconds")
    print(f"{'':<8}{'local':>8}{'ray':>8}{'local / ray':>13}")
    columns: dict[str, Callable[[Measured], float]] = {
        "loading": lambda each: each.loading, "drawing": lambda each: each.drawing, "judging": lambda each: each.judging,
    }  # fmt: skip
    for name, seconds in columns.items():
        local, ray = middle("local", seconds), middle("ray", seconds)
        print(f"{name:<8}{local:>8.1f}{ray:>8.1f}{local / ray:>13.2f}")


if __name__ == "__main__":
    main()
