"""Short spellings of the options of the audit: `--target` for `--dmun-target`, and so on. Delete this file if they clash."""

import pytest

from dmun_audit.plugin import add_options


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser, "--")
