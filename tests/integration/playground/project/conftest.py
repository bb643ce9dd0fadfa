"""Pages of a project have their profile on disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Playwright

from tests.integration.playground.conftest import stored


@pytest.fixture
def context(playwright: Playwright, tmp_path: Path) -> Iterator[BrowserContext]:
    with stored(playwright, tmp_path / "profile") as context:
        yield context
