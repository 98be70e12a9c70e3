"""A bench over the atelier's UCE model with few steps, and units to draw: what tests of probes that draw share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

PROMPTS = ("a painting of a house by Vincent van Gogh", "a boat by Van Gogh", "a tree in the style of Van Gogh")
SEEDS = (11, 12, 13)
NAMES = ("Van Gogh", "Vincent van Gogh")


def open_bench(folder, steps=5, batch=3, base="atelier:base", candidate="atelier:uce-van-gogh"):
    """A bench over a store in `folder`. Without a candidate, the base is its own."""
    from dmun_audit.models.loading import load_candidate, load_pipeline
    from dmun_audit.models.references import parse_reference
    from dmun_audit.policy import load_policy
    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.render.engine import Engine
    from dmun_audit.store.images import ImageStore

    loaded = load_pipeline(parse_reference(base))
    edited = load_candidate(parse_reference(candidate), loaded) if candidate else loaded
    sampling = replace(load_policy("standard").sampling, steps=steps, batch=batch)
    engine = Engine({"base": loaded, "candidate": edited}, sampling, ImageStore(folder))
    engine.recipes = bench = Bench(engine)
    return bench


def requests(prompts=PROMPTS, seeds=SEEDS):
    """Prompts and seeds as requests to the base."""
    from dmun_audit.plan.case import ImageRequest

    return tuple(ImageRequest("base", prompt, 0, seed) for prompt, seed in zip(prompts, seeds, strict=True))


def attack(examples=()):
    """An attack at the small setting."""
    from dmun_audit.probes.probe import Attack

    return Attack("small", NAMES, "style", tuple(examples))


def distance(one, other):
    """The mean difference of images, in levels of 255."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())
