"""One Ray for all tests of the room: two CPUs, no dashboard, a small object store."""

import logging
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ray_address():
    """The address of a cluster that runs as long as the tests; this process is connected to it."""
    import ray

    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))  # for the actors
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    context = ray.init(address="local", **settings, log_to_driver=False, logging_level=logging.ERROR)
    os.environ["PYTHONPATH"] = os.environ["PYTHONPATH"].partition(os.pathsep)[2]
    yield context.address_info["address"]
    ray.shutdown()
