"""A real redis-server of a test's own, links to it as of several gateways, and a look inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from lexiseg_service.redis_link import Breaker, RedisLink
from tests.integration.shared_state.patience import PATIENT
from tests.redis_server import RedisServer


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    with capture_logs():
        yield


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path)
    yield running
    running.kill()


@pytest.fixture
def link(server: RedisServer) -> Iterator[Callable[..., RedisLink]]:
    """Makes links, each as of another gateway."""
    made: list[RedisLink] = []

    def make(timeout: float = PATIENT) -> RedisLink:
        made.append(RedisLink(server.url, timeout, Breaker(clock=lambda: 0.0)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def inside(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as client:
        yield client
