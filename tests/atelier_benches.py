"""A bench over models of the atelier, for tests of probes: no audit, no judge."""

from __future__ import annotations

from dataclasses import replace

from dmun_audit.models import references
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.plan.case import requests_for
from dmun_audit.policy import load_policy
from dmun_audit.probes.parts.bench import Bench
from dmun_audit.probes.probe import Attack
from dmun_audit.render.engine import Engine
from dmun_audit.store.images import ImageStore

NAME = "Van Gogh"
PROMPTS = ("a painting of a house by Van Gogh", "a boat by Van Gogh")
PLAIN = ("a painting of a house", "a cat")


def loaded(name, base=None):
    """A model of the atelier; over `base` if it is a weights file."""
    reference = references.parse_reference(f"atelier:{name}")
    if base is None:
        return load_pipeline(reference, dtype="float32", device="cpu")
    return load_candidate(reference, base, dtype="float32", device="cpu", trust_remote_code=False)


def two_models(candidate="uce-van-gogh"):
    """The base and a candidate, loaded once for many benches."""
    base = loaded("base")
    return base, loaded(candidate, base)


def bench_over(folder, models, steps=2, **more):
    """A bench over a base and a candidate, whose images take few denoising steps."""
    base, candidate = models
    sampling = replace(load_policy("standard").sampling, batch=4, steps=steps, dtype="float32", acceleration="none")
    engine = Engine({"base": base, "candidate": candidate}, sampling, ImageStore(folder))
    engine.recipes = bench = Bench(engine, **more)
    return bench


def attack(images=4):
    """An attack that learns from a few base images."""
    return Attack(
        "small",
        (NAME,),
        "style",
        requests_for("base", PROMPTS, images, 0, first=9),
        requests_for("base", PLAIN, images, 0, first=9),
    )


def units(side="candidate", recipe=None, count=2):
    """The images of a few units."""
    return [replace(each, recipe=recipe) for each in requests_for(side, PROMPTS, count, 0)]


def drawn(bench, recipe, side="candidate"):
    """The images of a few units under a recipe."""
    wanted = units(side, recipe)
    bench.engine.ensure(wanted)
    return bench.engine.images(wanted)
