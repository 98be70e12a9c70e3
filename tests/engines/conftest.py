"""One Ray for all tests of the room: two CPUs, no dashboard, a small object store."""

import logging
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ray_address(tmp_path_factory):
    """The address of a cluster that runs as long as the tests; this process is connected to it.

    The cache folder of its actors is another one than that of the tests, as on another machine.
    """
    import ray

    settings = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("another-machine")))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # for the actors
        context = ray.init(address="local", **settings, log_to_driver=False, logging_level=logging.ERROR)
    yield context.address_info["address"]
    ray.shutdown()


@pytest.fixture(scope="session")
def here():
    """The models of an audit as its own process loads them, and how they are loaded."""
    from dmun_audit.engines.models_to_load import ModelsToLoad
    from dmun_audit.models import references
    from dmun_audit.models.source_files import read_source

    names = {"base": "atelier:base", "candidate": "atelier:uce-van-gogh"}
    planned = {side: read_source(references.parse_reference(name)) for side, name in names.items()}
    to_load = ModelsToLoad(**names, planned=planned, dtype="float32", trust_remote_code=False)
    return to_load, to_load.load("cpu")
