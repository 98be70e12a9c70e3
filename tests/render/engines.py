"""Engines on one store, with a sampler that needs no model."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np

from dmun_audit.plan.case import ImageRequest
from dmun_audit.policy import Sampling
from dmun_audit.render import engine as rendering
from dmun_audit.render.engine import Engine
from dmun_audit.store.images import ImageStore

BATCH = 4


class BatchDependentSampler:
    """Every image depends on all slots of its batch, as it may on a GPU."""

    def __init__(self):
        self.settings = {"scheduler": "none"}
        self.size = (8, 8)
        self.batches = []

    def sample(self, prompts, seeds):
        self.batches.append(list(zip(prompts, seeds, strict=True)))
        for slot in range(len(prompts)):
            seed = hashlib.sha256(repr((prompts, seeds, slot)).encode()).digest()[:8]
            yield np.random.default_rng(int.from_bytes(seed)).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def requests(count, side="base", first=0):
    return [ImageRequest(side, f"prompt {number}", 0, number) for number in range(first, first + count)]


def engine_maker(folder, monkeypatch, **sampling):
    """Makes engines on one store: each stands for a process."""
    monkeypatch.setattr(rendering, "open_sampler", lambda *arguments, **settings: BatchDependentSampler())
    settings = Sampling(**{"steps": 1, "guidance": 1.0, "batch": BATCH, "threads": 1, "dtype": "float32"} | sampling)
    models = {side: SimpleNamespace(weights_digest=side) for side in ("base", "candidate")}
    return lambda: Engine(models, settings, ImageStore(folder))
