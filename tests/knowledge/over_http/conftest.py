"""A real server on loopback that gives one and the same answer."""

import pytest
from asked_over_http import TEXT
from chat_server import serving


@pytest.fixture
def server():
    """The running server."""
    with serving(lambda body: TEXT) as running:
        yield running
