"""One Ray cluster for all tests of bulk jobs: its start takes longer than they do."""

from collections.abc import Iterator

import pytest

from tests.integration.batch import playing
from tests.s3_server import bucket


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    """An empty bucket."""
    with bucket("mine") as address:
        yield address


@pytest.fixture(scope="package")
def nodes(address: str) -> Iterator[playing.Nodes]:
    """Two, which find the bucket and want a token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "a" * 64)
        with playing.cluster() as nodes:
            yield nodes
