"""The store of the golden audits."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def golden_store(store):
    """The store that the golden audits share: that of all audits, or the folder that DMUN_AUDIT_GOLDEN_STORE names."""
    named = os.environ.get("DMUN_AUDIT_GOLDEN_STORE")
    return Path(named) if named else store
