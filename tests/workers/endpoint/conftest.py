"""A scripted endpoint for each test."""

from collections.abc import Iterator

import pytest

from tests.workers.endpoint.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
