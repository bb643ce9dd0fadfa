"""A client of the real server."""

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.server import Server


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
