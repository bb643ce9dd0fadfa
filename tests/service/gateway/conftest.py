"""The real application over a backend of a few lines, asked without a socket; a real Redis as of several gateways."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis
from structlog.testing import capture_logs

from lexiseg_service.redis_link import Breaker, RedisLink
from lexiseg_service.watch.metrics import Metrics
from tests.redis_server import RedisServer
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import serving


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    with capture_logs():
        yield


@pytest.fixture
def backend() -> KnownBackend:
    return KnownBackend()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def client(backend: KnownBackend, metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(backend=backend, metrics=metrics) as client:
        yield client


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path)
    yield running
    running.kill()


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[Callable[..., RedisLink]]:
    """Makes links to the Redis, each as of another gateway; `timeout` is how long a call may take."""
    made: list[RedisLink] = []

    def make(timeout: float = 30.0) -> RedisLink:
        made.append(RedisLink(redis_server.url, timeout, Breaker(clock=lambda: 0.0)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def inside(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A look into the Redis."""
    with redis.Redis(port=redis_server.port) as client:
        yield client
