"""A picture from the camera, and what is said where there is none. Chromium brings a camera that shows a clock."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from tests import chromium
from tests.integration.playground.asking import add, choose, expect_result, until
from tests.integration.playground.clips import know_clip


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with chromium.started(playwright, chromium.WHOLE) as browser:
        yield browser


def test_a_picture_is_taken_and_the_camera_let_go(context: BrowserContext, page: Page) -> None:
    context.grant_permissions(["camera"])
    add(page, "sky")
    know_clip(page)
    page.click("#camera")
    expect(page.locator("#time")).to_have_text("live")
    until(page, "state.frame !== null")
    assert page.evaluate("clip.srcObject.active")

    page.get_by_role("button", name="Take this frame").click()

    expect(page.get_by_role("radio", name="Picture")).to_be_checked()
    until(page, "clip.srcObject === null && state.picture !== null && state.answer !== null")
    assert min(page.evaluate("state.answer.size")) >= 240
    expect(page.locator("#canvas")).to_be_visible()


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
