"""The system's Chromium, as a whole or without all that belongs to windows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Playwright

WHOLE = ("chromium",)
# The first opens a page in a third of the processor time; it knows no camera.
PROGRAMS = ("chromium-headless-shell", *WHOLE)
# WebAssembly stays as it is compiled first: a page asks too little of its model to win back the optimizer's time.
FLAGS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--js-flags=--liftoff-only")


def path(programs: tuple[str, ...] = PROGRAMS) -> str | None:
    """Of the first that is there."""
    return next(filter(None, map(shutil.which, programs)), None)


def require(programs: tuple[str, ...] = PROGRAMS) -> str:
    """Its path, or the test is skipped."""
    program = path(programs)
    if program is None:
        pytest.skip(f"there is no {' or '.join(programs)}; `make system-packages` installs it as root")
    return program


@contextmanager
def started(playwright: Playwright, programs: tuple[str, ...] = PROGRAMS, *flags: str) -> Iterator[Browser]:
    """A browser whose camera shows a clock, where it knows any."""
    browser = playwright.chromium.launch(executable_path=require(programs), args=[*FLAGS, *flags])
    yield browser
    browser.close()
