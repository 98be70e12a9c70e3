"""Short spellings of the audit's options: `--target` for `--dmun-target`, and so on. Drop this file where they clash."""

import pytest

from dmun_audit.plugin import add_options


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser, "--")
