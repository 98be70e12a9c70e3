"""What several packages of tests share stands beside this file; `pythonpath` in pyproject.toml makes it importable by name."""

import os
import sys

# Commands that tests start import hundreds of modules: they are compiled once, not by each command.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# One thread for each process, set before anything imports torch: threads of two workers would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

hypothesis.settings.register_profile("unhurried", deadline=None)  # a test is not wrong because the machine is busy
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """The store of all audits that need no store of their own: no image is drawn twice. Workers of pytest-xdist share it."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "store-of-all-audits"
