"""A real browser before a real server."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from lexiseg_service.commands.site import build
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.settings import Settings
from tests import chromium, once
from tests.http_server import serving_files
from tests.integration.playground.expect import PATIENCE as PATIENCE
from tests.integration.server import Server

N_WORDS = 150  # names of things; other words need the text tower
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
faults: list[str] = []  # of the scripts of all pages


@pytest.fixture(autouse=True)
def no_script_fails() -> Iterator[None]:
    """Told at the end: what an event raises would end the connection to the browser, for all later tests, too."""
    yield
    seen = faults.copy()
    faults.clear()
    assert not seen


@pytest.fixture(scope="package")  # as long as it runs, no test of asyncio can
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with chromium.started(playwright) as browser:
        yield browser


@pytest.fixture(scope="package")
def folder(real_environment: dict[str, str]) -> Path:
    """A folder with a site in its sub-folder `site`. Shared: never write into it."""
    with mock.patch.dict(os.environ, real_environment, clear=True):
        build.fetched_engine()
    return once.made("pages", lambda root: build.write_site(Settings(), root / "site", N_WORDS))


@pytest.fixture(scope="package")
def site(folder: Path) -> Iterator[str]:
    with serving_files(folder) as url:
        yield f"{url}/site/"


@pytest.fixture(scope="package")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for the key `right`, and takes small files alone."""
    log = tmp_path_factory.mktemp("locked") / "log.jsonl"
    with Server(log, LEXISEG_API_KEYS=line_of("page", "right"), LEXISEG_MAX_IMAGE_BYTES="32768") as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 820}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@contextmanager
def stored(playwright: Playwright, profile: Path) -> Iterator[BrowserContext]:
    """A context with its profile on disk."""
    with chromium.on_disk(playwright, profile) as context:
        context.set_default_timeout(PATIENCE)
        yield context


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Page:
    return opened(context, server.url)


@pytest.fixture
def screen(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the playground in a context of its own; takes the options of `new_context`."""
    with ExitStack() as contexts:

        def open_on(**options: Any) -> Page:
            return opened(contexts.enter_context(browser.new_context(**options)), server.url)

        yield open_on


def opened(context: BrowserContext, url: str) -> Page:
    """The playground, ready; a fault in its scripts fails the test that opened it."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(url)
    page.locator("body[data-ready]").wait_for()
    return page


def reload(page: Page) -> None:
    page.reload()
    page.locator("body[data-ready]").wait_for()
