"""Small screens, and nobody else's files."""

import pytest
from playwright.sync_api import Browser, Page

from tests.integration.playground.asking import add, choose, expect_result
from tests.integration.playground.conftest import PATIENCE, opened
from tests.integration.server import Server


@pytest.mark.parametrize("width", [390, 1600])
def test_nothing_is_wider_than_the_screen(browser: Browser, server: Server, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    context.set_default_timeout(PATIENCE)
    page = opened(context, server.url)
    choose(page)
    add(page, "sky", "a rather long name of a class that nobody would look for")

    expect_result(page, "Found sky")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.evaluate("(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.getElementById('panel'))")
        == 0
    )
    context.close()


def test_every_button_can_be_hit(page: Page) -> None:  # WCAG 2.2, 2.5.8: 24 px
    choose(page)
    add(page, "sky")
    expect_result(page, "Found sky")
    for name in ("more", "export"):
        page.locator(f"#{name} > summary").click()

    sizes = [found.bounding_box() for found in page.locator("button:visible, input:visible, select:visible").all()]

    assert len(sizes) > 24
    assert [box for box in sizes if box is not None and min(box["width"], box["height"]) < 24] == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180), (1400, 820)])
def test_the_first_screen_shows_a_large_example_and_the_task(
    browser: Browser, server: Server, width: int, height: int
) -> None:
    page = opened(browser.new_context(viewport={"width": width, "height": height}), server.url)

    stage, example, tasks = (page.locator(part).bounding_box() for part in ("#stage", "#sample img", "#tasks"))

    assert stage is not None
    assert example is not None
    assert tasks is not None
    assert example["width"] > 0.55 * stage["width"]
    assert tasks["y"] + tasks["height"] < height
    page.context.close()
