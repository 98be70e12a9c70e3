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
ATTACK = Attack("small", ("Van Gogh", "Vincent van Gogh"), "style")
UNITS = requests_for("base", PROMPTS, 2, audit_seed=0)


def token_bench(folder, base="atelier:base", candidate="atelier:uce-van-gogh", control="atelier:retrained"):
    """A bench over a base and a candidate, by their references, with images and finds in `folder`."""
    loaded = load_pipeline(parse_reference(base))

    def load(name):
        return load_candidate(parse_reference(name), loaded)

    engine = Engine({"base": loaded, "candidate": load(candidate)}, SAMPLING, ImageStore(folder))
    engine.recipes = bench = Bench(engine, lambda: load(control), control)
    return bench
