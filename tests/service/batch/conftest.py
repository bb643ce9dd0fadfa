"""Fixtures of gateways, and a Redis that the tests of this folder share."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.redis_server import RedisServer
from tests.service.gateway.conftest import _quiet_logs as _quiet_logs
from tests.service.gateway.conftest import backend as backend
from tests.service.gateway.conftest import client as client
from tests.service.gateway.conftest import inside as inside
from tests.service.gateway.conftest import link as link
from tests.service.gateway.conftest import metrics as metrics
from tests.service.gateway.conftest import redis_server as redis_server


@pytest.fixture(scope="session")
def _redis_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis"))
    yield running
    running.kill()


@pytest.fixture
def shared_redis(_redis_of_all: RedisServer) -> RedisServer:
    """Without what other tests have written."""
    with redis.Redis.from_url(_redis_of_all.url) as client:
        client.flushall()
    return _redis_of_all


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of where records are, beside the state directory."""
    if request.param == "sqlite":
        return {}
    server: RedisServer = request.getfixturevalue("shared_redis")
    return {"redis_url": server.url}
