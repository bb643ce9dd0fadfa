"""Small screens, and nothing of the visitor's but the camera."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.integration.playground.asking import CHINA, add, ask, choose, expect_result, place, until
from tests.integration.playground.conftest import opened
from tests.integration.playground.expect import expect
from tests.integration.playground.project.test_project import add_files
from tests.integration.server import Server

# Notes the pills behind the names of each drawing, in pixels of the canvas.
PILLS = """
    const { clearRect, roundRect } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        window.pills = [];
        clearRect.apply(this, box);
    };
    CanvasRenderingContext2D.prototype.roundRect = function (...box) {
        if (box[2] > box[3]) window.pills.push(box); // the dot in a name is as wide as it is tall
        roundRect.apply(this, box);
    };
"""


TOO_WIDE = """() => [document.documentElement, document.getElementById("panel")].map(
    ({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)"""


def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    choose(page)
    add(page, "sky", "a rather long name of a class that nobody would look for")
    expect_result(page, "Found sky")

    for width in (390, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        until(page, f"innerWidth === {width}")
        assert page.evaluate(TOO_WIDE) == [0, 0]


BEYOND = """() => [...document.querySelectorAll("button, select, input, label, summary")]
    .filter((one) => one.offsetParent && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.id || one.textContent)"""


ZOOM = """async () => {
    const { view: { canvas, image, zoom } } = await import("/playground/view.js");
    return zoom / Math.min(canvas.width / image.width, canvas.height / image.height);
}"""


def test_a_stage_of_another_size_keeps_the_zoom(page: Page) -> None:
    choose(page)
    page.focus("#canvas")
    for _ in range(4):
        page.keyboard.press("+")
    before = page.evaluate(ZOOM)
    height = page.locator("#canvas").evaluate("(canvas) => canvas.height")

    page.set_viewport_size({"width": 1400, "height": 700})

    until(page, f"document.getElementById('canvas').height < {height}")
    assert page.evaluate(ZOOM) == pytest.approx(before)
    assert before > 4


def test_correcting_with_a_brush_leaves_the_picture_its_size(page: Page) -> None:
    add_files(page, one=CHINA, two=CHINA)
    add(page, "sky", "building")
    expect_result(page, "Found sky")
    before = page.locator("#canvas").evaluate("(canvas) => canvas.clientHeight")

    page.get_by_role("button", name="Correct building").click()
    page.check("[name=sign][value=brush]")

    for part in ("#accept", "#size", "#merge"):
        expect(page.locator(part)).to_be_visible()
    assert page.locator("#canvas").evaluate("(canvas) => canvas.clientHeight") == before


def test_at_a_zoom_of_400_percent_every_control_is_on_the_screen(screen: Callable[..., Page]) -> None:
    page = screen(viewport={"width": 320, "height": 256})  # WCAG 2.2, 1.4.10
    add(page, "sky")
    choose(page)
    expect_result(page, "Found sky")
    assert page.evaluate(BEYOND) == []
    page.get_by_role("radio", name="Video").check()
    page.get_by_role("button", name="play an example").click()
    expect_result(page, "Found sky")
    assert page.evaluate(BEYOND) == []


def test_every_button_can_be_hit(page: Page) -> None:  # WCAG 2.2, 2.5.8: 24 px
    ask(page, "sky")
    for name in ("more", "export"):
        page.locator(f"#{name} > summary").click()

    sizes = [found.bounding_box() for found in page.locator("button:visible, input:visible, select:visible").all()]

    assert len(sizes) > 24
    assert [box for box in sizes if box is not None and min(box["width"], box["height"]) < 24] == []


def test_the_first_screen_shows_a_large_example_and_the_task(page: Page) -> None:
    for width, height in ((390, 844), (820, 1180), (1400, 820)):
        page.set_viewport_size({"width": width, "height": height})
        until(page, f"innerWidth === {width}")

        stage, example, tasks = (page.locator(part).bounding_box() for part in ("#stage", "#sample img", "#tasks"))

        assert stage is not None
        assert example is not None
        assert tasks is not None
        assert example["width"] > 0.55 * stage["width"]
        assert tasks["y"] + tasks["height"] < height


def test_names_on_the_picture_stand_apart(context: BrowserContext, server: Server) -> None:
    context.add_init_script(PILLS)
    page = opened(context, server.url)
    page.set_viewport_size({"width": 390, "height": 844})
    choose(page)
    page.locator("#more summary").click()
    page.uncheck("#background")
    page.get_by_text("everything", exact=True).click()
    add(page, "a house of many floors", "a wood on the shore")
    expect_result(page, "Found a ")
    page.locator("#canvas[data-painted]").wait_for()
    until(page, "window.pills.length > 2")

    pills = page.evaluate("window.pills")

    for index, (left, top, width, height, _) in enumerate(pills):
        for x, y, wide, high, _ in pills[:index]:
            assert left >= x + wide or x >= left + width or top >= y + high or y >= top + height


def test_tools_under_a_picture_stand_in_one_row_on_a_phone(screen: Callable[..., Page]) -> None:
    page = screen(viewport={"width": 390, "height": 844})
    choose(page)
    add(page, "sky", "a rather long name")
    expect_result(page, "Found sky")
    page.mouse.click(*place(page, 200, 290))
    expect_result(page, "Cut out 1 object")

    for corrects in (False, True):
        if corrects:
            page.get_by_role("button", name="Correct sky").click()

        boxes = [tool.bounding_box() for tool in page.locator("#tools :is(button, label):visible").all()]

        assert len(boxes) == 10
        assert len({box["y"] for box in boxes if box}) <= 3
        assert max(box["x"] + box["width"] for box in boxes if box) <= 390


def test_nothing_but_the_camera_may_be_asked_of_the_visitor(page: Page) -> None:
    allowed = page.evaluate("document.featurePolicy.allowedFeatures()")

    assert "camera" in allowed
    assert not {"microphone", "geolocation", "display-capture", "payment", "usb"} & set(allowed)
