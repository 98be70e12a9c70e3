"""A small bench: the atelier's base, an erased candidate and the model that never knew the target, with few steps a picture."""

from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference
from dmun_audit.plan.case import requests_for
from dmun_audit.policy import Sampling
from dmun_audit.probes.parts.bench import Bench
from dmun_audit.probes.probe import Attack
from dmun_audit.render.engine import Engine
from dmun_audit.store.images import ImageStore

SAMPLING = Sampling(steps=4, guidance=3.0, batch=4, threads=1, dtype="float32")
PROMPTS = ("a painting of a house by Vincent van Gogh", "a boat by Van Gogh")
ATTACK = Attack("small", ("Van Gogh", "Vincent van Gogh"))
UNITS = requests_for("base", PROMPTS, 2, audit_seed=0)


def token_bench(folder):
    """A bench over `atelier:uce-van-gogh` with its images and finds in `folder`."""
    base = load_pipeline(parse_reference("atelier:base"))

    def load(name):
        return load_candidate(parse_reference(name), base)

    engine = Engine({"base": base, "candidate": load("atelier:uce-van-gogh")}, SAMPLING, ImageStore(folder))
    engine.recipes = bench = Bench(engine, lambda: load("atelier:retrained"), "atelier:retrained")
    return bench
