"""The real application over a backend of a few lines, asked without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from structlog.testing import capture_logs

from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.service.gateway.known_backend import KnownBackend


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
    app = create_app(Settings(model="colours"), backend, metrics)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client
