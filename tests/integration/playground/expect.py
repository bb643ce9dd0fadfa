"""Playwright's `expect`, which looks ten times a second: with a long limit it would soon look only twice."""

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator
from playwright.sync_api import expect as expect_within

PATIENCE = 60_000.0  # milliseconds; a loaded machine needs a tenth of it
QUICK = 2_400.0  # milliseconds, a limit below which Playwright pauses for at most 100 between two looks


class expect:
    """Assertions about a locator, each of which waits until it holds."""

    def __init__(self, locator: Locator) -> None:
        self._assertions = expect_within(locator)

    def __getattr__(self, name: str) -> Callable[..., None]:
        assertion = getattr(self._assertions, name)

        def hold(*expected: Any, **options: Any) -> None:
            deadline = time.monotonic() + PATIENCE / 1e3
            while True:
                try:
                    assertion(*expected, timeout=QUICK, **options)
                except AssertionError:
                    if time.monotonic() > deadline:
                        raise
                else:
                    return

        return hold
