"""A picture from the camera, or the refusal of one. Chromium brings a camera that shows a clock."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from tests import chromium
from tests.http_server import serving_files
from tests.integration.playground.asking import add, expect_result, until
from tests.integration.playground.clips import know_clip
from tests.integration.playground.conftest import opened
from tests.integration.playground.expect import expect


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with chromium.started(playwright, chromium.WHOLE) as browser:
        yield browser


# A stream whose first frame fails, as of a camera that another program takes.
NO_PICTURE = """() => {
    const stream = document.createElement("canvas").captureStream(0);
    navigator.mediaDevices.getUserMedia = async () => {
        HTMLMediaElement.prototype.play = () => Promise.reject(new DOMException("", "NotSupportedError"));
        return stream;
    };
}"""


def test_a_camera_without_a_picture_is_told(page: Page) -> None:
    page.evaluate(NO_PICTURE)

    page.click("#camera")

    expect_result(page, "The camera shows no picture.")


def test_a_refusal_is_told_and_then_a_picture_is_taken_and_the_camera_let_go(
    context: BrowserContext, page: Page
) -> None:
    page.click("#camera")  # nobody has granted anything
    expect_result(page, "The camera was refused")
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


@pytest.mark.slow
def test_a_page_without_a_service_segments_a_camera_live_and_lets_it_go(context: BrowserContext, folder: Path) -> None:
    context.grant_permissions(["camera"])
    with serving_files(folder) as url:
        page = opened(context, f"{url}/site/")
        page.get_by_role("radio", name="Video").check()
        add(page, "clock")
        know_clip(page)

        page.click("#film")

        expect(page.locator("#time")).to_have_text("live")
        expect(page.locator("#timings")).to_contain_text("frames a second")
        expect(page.locator("#seek")).to_be_hidden()
        page.get_by_role("radio", name="Picture").check()
        until(page, "window.clip.srcObject === null")
        page.get_by_role("radio", name="Video").check()
        expect(page.get_by_text("Drop a clip here")).to_be_visible()
