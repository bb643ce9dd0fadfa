"""Fixtures of the adapters' tests."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from structlog.testing import capture_logs

from lexiseg_service.entry_points import ADAPTERS, entry_points_of
from tests.service.adapters.asking import adapted


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    with capture_logs():
        yield


@pytest.fixture
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """Of a gateway with the one adapter whose name a test's folder or module has, or else with all of them."""
    named = request.path.parent.name, request.path.stem.removeprefix("test_")
    async with adapted(*(name for name in entry_points_of(ADAPTERS) if name.replace("-", "_") in named)) as client:
        yield client
