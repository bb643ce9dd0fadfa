"""A service that takes no more says when to come again; the page says so, and comes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests import pictures
from tests.integration.playground.asking import add, choose, expect_result, until
from tests.integration.playground.conftest import opened
from tests.integration.server import Server
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import Ports, on_ports

CLIENTS = 3
SLOW = pictures.encoded(pictures.photograph("china").resize((4000, 2600)), "JPEG")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One request at a time, of everybody together."""
    log = tmp_path_factory.mktemp("narrow") / "log.jsonl"
    with Server(log, LEXISEG_QUEUE_LIMIT="1", LEXISEG_FEATURE_CACHE_BYTES="0") as running:
        yield running


@contextmanager
def crowd(url: str) -> Iterator[None]:
    """Others who ask all the time."""
    leave, came = threading.Event(), threading.Barrier(CLIENTS + 1)

    def ask() -> None:
        with httpx.Client(timeout=120) as client:
            came.wait(60)
            while not leave.is_set():
                client.post(f"{url}/v1/segment", data={"classes": "sky"}, files={"image": ("china.jpg", SLOW)})

    others = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for one in others:
        one.start()
    came.wait(60)
    try:
        yield
    finally:
        leave.set()
        for one in others:
            one.join(120)


# In the same moment: the page says that it will ask again, and has a button for whoever does not want to wait.
TOLD = """/^The service is busy: .+\\. Asking again in \\d+ s\\.$/.test(document.getElementById("result").textContent)
    && document.getElementById("again").checkVisibility()"""


def test_a_full_queue_is_told_and_asked_again(context: BrowserContext, narrow: Server) -> None:
    page = opened(context, narrow.url)
    choose(page)
    with crowd(narrow.url):
        seconds = refused(page, "sky", "building", "trees", "water", "grass", "stone")
        until(page, TOLD)
    assert seconds >= 1

    expect_result(page, "Found sky")  # nobody has touched anything
    expect(page.locator("#again")).to_be_hidden()


def refused(page: Page, *words: str) -> int:
    """Adds words until a question is refused; in how many seconds it may be asked again."""
    for word in words:
        with page.expect_response("**/v1/segment") as answer:
            add(page, word)
        if answer.value.status == 429:
            return int(answer.value.headers["retry-after"])
    raise AssertionError(f"{len(words)} questions were taken")


@pytest.fixture(scope="module")
def limited() -> Iterator[Ports]:
    """One question in 50 seconds, after the first few: the gateway's own rule, whatever the backend."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lexiseg_service.gateway.admission.limits.BURST_SECONDS", 150)
        with on_ports(KnownBackend(), rate_limit=0.02) as ports:
            yield ports


def refuse_once(page: Page) -> int:
    """Asks until the service has had enough; in how many seconds it may be asked again."""
    choose(page)
    seconds = refused(page, "sky", "building", "tree", "water")
    expect_result(page, "Asking again in")
    return seconds


def test_the_button_does_not_wait(context: BrowserContext, limited: Ports) -> None:
    page = opened(context, limited.url)
    seconds = refuse_once(page)

    # Long before the page would ask by itself.
    with page.expect_request("**/v1/segment", timeout=1e3 * seconds / 3):
        page.click("#again")


def test_a_changed_question_is_not_asked_as_it_was(context: BrowserContext, limited: Ports) -> None:
    page = opened(context, limited.url)
    refuse_once(page)

    while page.locator("#chips button").count():
        page.locator("#chips button").last.click()

    expect_result(page, "Type a word")
    expect(page.locator("#again")).to_be_hidden()
