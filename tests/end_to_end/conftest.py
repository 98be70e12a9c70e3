"""Real audits share one store: what one of them has drawn, no other one draws again, in whichever process it runs."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    """Every test here runs whole audits: it is slow, and an end-to-end test."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.end_to_end)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """The store of all audits that need no store of their own. Workers of pytest-xdist share it."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "store-of-all-audits"
