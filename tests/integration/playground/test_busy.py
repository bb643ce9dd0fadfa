"""A service that takes no more says when to come again; the page says so, and comes."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from lexiseg_service.errors import QueueFull
from tests.integration.playground.asking import add, choose, expect_result, until
from tests.integration.playground.conftest import opened
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import Ports, on_ports

# In the same moment: the page says that it will ask again, and has a button for whoever does not want to wait.
TOLD = """/^The service is busy: .+\\. Asking again in \\d+ s\\.$/.test(document.getElementById("result").textContent)
    && document.getElementById("again").checkVisibility()"""


def test_a_full_queue_is_told_and_asked_again(context: BrowserContext) -> None:
    backend = KnownBackend()
    with on_ports(backend) as ports:
        page = opened(context, ports.url)
        choose(page)
        add(page, "sky")
        expect_result(page, "Found sky")
        backend.failure = QueueFull("63 are waiting", 3)
        add(page, "building")
        until(page, TOLD)

        backend.failure = None

        expect(page.locator("#again")).to_be_hidden()  # nobody has touched anything
        expect_result(page, "Found sky")


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
    for word in ("sky", "building", "tree", "water"):
        with page.expect_response("**/v1/segment") as answer:
            add(page, word)
        if answer.value.status == 429:
            expect_result(page, "Asking again in")
            return int(answer.value.headers["retry-after"])
    raise AssertionError("all questions were taken")


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
