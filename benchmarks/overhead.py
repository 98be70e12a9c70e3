"""What store and evidence take beside rendering, in an audit with an empty store.

    python -m benchmarks.overhead [MODEL] [--policy=smoke]

It audits MODEL (atelier:uce-van-gogh, if none is given) and adds up the CPU seconds that the process spends in rendering, in the store and
in the evidence. It prints them with their shares of the rendering time, as a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock

import dmun_audit
from dmun_audit.evidence.run_folder import RunFolder
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.render.sampling import PipelineSampler
from dmun_audit.store.embeddings import EmbeddingStore
from dmun_audit.store.images import ImageStore

PARTS: dict[str, list[tuple[type, str]]] = {
    "rendering": [(PipelineSampler, "sample")],
    "judging": [(ClipJudge, "embed_images")],
    "images: writing": [(ImageStore, "write")],
    "images: finding": [(ImageStore, "__contains__")],
    "images: reading": [(ImageStore, "stored")],
    "embeddings": [(EmbeddingStore, "read"), (EmbeddingStore, "write")],
    "locks": [(filelock.BaseFileLock, "acquire"), (filelock.BaseFileLock, "release")],
    "evidence": [(RunFolder, "append"), (RunFolder, "keep_image"), (RunFolder, "conclude"), (RunFolder, "seal")],
}
"""The methods of each part. Only methods of the evidence call methods of another part."""

OVERHEAD = tuple(PARTS)[2:]


def timed(function: Callable[..., Any], part: str, seconds: dict[str, float]) -> Callable[..., Any]:
    """Wrap `function`: each call adds its CPU seconds to `seconds[part]`."""

    def call(*arguments: Any, **named: Any) -> Any:
        started = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            seconds[part] += time.process_time() - started

    return call


def main() -> None:
    """Audit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="atelier:uce-van-gogh")
    parser.add_argument("--policy", default="smoke")
    arguments = parser.parse_args()
    seconds: dict[str, float] = defaultdict(float)
    for part, methods in PARTS.items():
        for owner, name in methods:
            setattr(owner, name, timed(getattr(owner, name), part, seconds))
    with tempfile.TemporaryDirectory() as made:
        result = dmun_audit.audit(
            arguments.model, policy=arguments.policy, store=Path(made, "store"), audit_dir=Path(made, "run"), keep_going=True
        )
    images = result.manifest.images["rendered"]
    print(f"{images} images of {arguments.model} under the policy {arguments.policy}:\n")
    print("| part | CPU seconds | ms an image | of rendering |\n|---|---:|---:|---:|")
    rows = seconds | {"store and evidence together": sum(seconds[part] for part in OVERHEAD)}
    for part, each in rows.items():
        print(f"| {part} | {each:.2f} | {1000 * each / images:.2f} | {each / seconds['rendering']:.2%} |")


if __name__ == "__main__":
    main()
