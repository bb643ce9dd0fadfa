"""The system's Chromium, as a whole or without all that belongs to windows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright

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


@contextmanager
def on_disk(playwright: Playwright, profile: Path) -> Iterator[BrowserContext]:
    """A browser with a profile in a folder, as visitors have; the storage of a new context is in memory and differs."""
    context = playwright.chromium.launch_persistent_context(
        profile,
        executable_path=require(),
        args=[*FLAGS],
        viewport={"width": 1400, "height": 820},
        accept_downloads=True,
    )
    yield context
    context.close()
