"""What tests of whole audits are: slow, and end-to-end."""

from pathlib import Path

import pytest
from bound_runs import audited, run  # noqa: F401


def pytest_collection_modifyitems(items):
    """Every test here runs whole audits: it is slow, and an end-to-end test."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.end_to_end)
