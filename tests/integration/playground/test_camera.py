"""A picture from the camera, and what is said where there is none. Chromium brings a camera that shows a clock."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from tests import chromium
from tests.integration.playground.asking import add, choose, expect_result, until

TRACKS = "[...(document.getElementById('live').srcObject?.getTracks() ?? [])].length"
# A browser tells a page that a dialog was closed in a task of its own, after it is hidden.
NO_TRACKS = f"{TRACKS} === 0"


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with chromium.started(playwright, chromium.WHOLE) as browser:
        yield browser


def test_a_picture_is_taken_and_the_camera_let_go(context: BrowserContext, page: Page) -> None:
    context.grant_permissions(["camera"])
    add(page, "sky")
    page.click("#camera")
    expect(page.get_by_role("dialog", name="Camera")).to_be_visible()
    expect(page.get_by_role("button", name="Take the picture")).to_be_focused()
    assert page.evaluate(TRACKS) == 1

    with page.expect_request("**/v1/segment") as asked:
        page.keyboard.press("Enter")

    expect(page.locator("#booth")).to_be_hidden()
    until(page, NO_TRACKS)
    answer = asked.value.response()
    assert answer is not None
    assert min(answer.json()["size"]) >= 240
    expect(page.locator("#canvas")).to_be_visible()


def test_escape_lets_the_camera_go(context: BrowserContext, page: Page) -> None:
    context.grant_permissions(["camera"])
    page.click("#camera")
    expect(page.locator("#booth")).to_be_visible()

    page.keyboard.press("Escape")

    expect(page.locator("#booth")).to_be_hidden()
    until(page, NO_TRACKS)
    expect(page.locator("#camera")).to_be_enabled()


def test_a_camera_that_is_refused_is_told_and_the_page_goes_on(page: Page) -> None:
    page.click("#camera")  # nobody has granted anything

    expect_result(page, "The camera was refused")
    choose(page)
    add(page, "sky")
    expect_result(page, "Found sky")


@pytest.mark.parametrize(
    ("error", "said"), [("NotFoundError", "There is no camera here"), ("NotReadableError", "Another program")]
)
def test_a_camera_that_is_missing_is_told(page: Page, error: str, said: str) -> None:
    page.evaluate(
        """(error) => {
            navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("none", error); };
        }""",
        error,
    )
    page.click("#camera")

    expect_result(page, said)


def test_without_https_there_is_none(page: Page) -> None:
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.click("#camera")

    expect_result(page, "The camera needs https")


def test_nothing_else_may_be_asked_of_the_visitor(context: BrowserContext, page: Page) -> None:
    allowed = page.evaluate("document.featurePolicy.allowedFeatures()")

    assert "camera" in allowed
    assert not {"microphone", "geolocation", "display-capture", "payment", "usb"} & set(allowed)
