"""No mouse: from the photograph to try to the exported masks, by keys alone."""

import json
import re

import pytest
from playwright.sync_api import Page, Response

from tests.integration.playground.asking import SIZE, expect_result, place, segments
from tests.integration.playground.expect import expect

ROCKET = "#examples [data-picture='rocket.jpg']"  # of the size of the other photograph
MOST_STOPS = 40  # of the Tab key, on the whole page

# What shows where the keys go: the outline of what has the focus, or of the label that stands for it.
OUTLINED = """() => {
    const stop = document.activeElement;
    const shown = stop.type === "file" ? stop.parentElement : stop;
    const { outlineStyle, outlineWidth } = getComputedStyle(shown);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && shown.getClientRects().length > 0;
}"""

# All that a screen reader reads out of the result line, in order.
LISTEN = """() => {
    window.heard = [];
    const line = document.getElementById("result");
    new MutationObserver(() => window.heard.push(line.textContent)).observe(line, { childList: true });
}"""

FOUND_ALONE = re.compile("^Found sky")  # after the objects are gone, which are named first


def walk_to(page: Page, place: str, key: str = "Tab") -> None:
    """Tab until `place` has the focus; every stop on the way shows that it has it."""
    for _ in range(MOST_STOPS):
        page.keyboard.press(key)
        at_end = page.evaluate("document.activeElement === document.body")  # the browser's own part of the round
        assert at_end or page.evaluate(OUTLINED), page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("(place) => document.activeElement.matches(place)", place):
            return
    raise AssertionError(f"{MOST_STOPS} times {key} do not lead to {place}")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def of_a_click(answer: Response) -> bool:
    """The photograph may still be asked about by words."""
    return answer.url.endswith("/v1/segment") and '"prompts"' in (answer.request.post_data or "")


@pytest.mark.parametrize("tool", ["#signs label:has-text('Brush')", "#opacity"])
def test_keys_go_on_after_a_tool_was_chosen_by_the_mouse(page: Page, tool: str) -> None:
    page.click(ROCKET)
    expect_result(page, "Found sky.")
    page.get_by_role("button", name="Correct sky").click()
    page.click(tool)

    press(page, "d")

    expect(segments(page)).to_have_count(0)


def test_the_keyboard_looks_closer_and_the_picture_stays_in_sight(page: Page) -> None:
    page.click(ROCKET)
    expect_result(page, "Found sky.")
    page.focus("#canvas")
    press(page, *["+"] * 4, *["ArrowRight"] * 15)  # in steps of what is seen
    with page.expect_response(of_a_click) as clicked:
        press(page, "Enter")
    (prompt,) = json.loads(clicked.value.request.post_data or "")["prompts"]
    step = max(SIZE) / 40 / 1.5**4
    assert prompt["points"][0]["x"] == pytest.approx(SIZE[1] / 2 + 15 * step)
    x, y = place(page, SIZE[1] / 2, SIZE[0] / 2)

    press(page, "Escape", *["-"] * 9)
    with page.expect_response(of_a_click) as clicked:
        page.mouse.click(x, y)

    (prompt,) = json.loads(clicked.value.request.post_data or "")["prompts"]
    assert prompt["points"][0]["x"] == pytest.approx(SIZE[1] / 2)  # as a whole in the middle again


def test_keys_alone_lead_from_the_photograph_to_exported_masks(page: Page) -> None:
    assert page.get_attribute("#result", "role") == "status"
    page.evaluate(LISTEN)
    walk_to(page, ROCKET)
    press(page, "Enter")
    expect_result(page, "Found sky.")
    expect(page.locator("#canvas")).to_be_focused()  # the button is gone

    walk_to(page, "#word")
    page.keyboard.type("water")
    press(page, "Enter")
    expect_result(page, "water")
    expect(page.locator("#word")).to_be_focused()

    walk_to(page, "#canvas", "Shift+Tab")
    press(page, *["ArrowUp"] * 12)
    expect(page.locator("#hover")).to_contain_text("sky")
    press(page, *["ArrowDown"] * 4, *["ArrowLeft"] * 8)
    expect(page.locator("#hover")).to_contain_text("sky")
    with page.expect_request("**/v1/segment") as clicked:
        press(page, "Enter")
    expect(page.locator("#corrected")).to_have_text("sky")
    (prompt,) = json.loads(clicked.value.post_data or "")["prompts"]
    step = max(SIZE) / 40
    assert prompt["points"] == [{"x": SIZE[1] / 2 - 8 * step, "y": SIZE[0] / 2 - 8 * step, "positive": True}]
    press(page, "Backspace", "n")
    expect_result(page, "Click on the next object")

    press(page, "b", *["ArrowRight"] * 6, *["ArrowDown"] * 9, "b")
    expect_result(page, "Cut out 1 object")
    press(page, "n", *["ArrowRight"] * 2, "b", *["ArrowRight"] * 5, *["ArrowDown"] * 6, "b")
    expect_result(page, "Cut out 2 objects")
    walk_to(page, "#undo")
    press(page, "Enter")
    expect_result(page, "Cut out 1 object")
    press(page, "Space")
    expect_result(page, FOUND_ALONE)

    walk_to(page, "#threshold")
    press(page, "End")
    expect(page.locator("#segments li.low")).not_to_have_count(0)
    press(page, "Home")
    expect(page.locator("#segments li.low")).to_have_count(0)

    walk_to(page, "#export summary")
    press(page, "Enter")
    walk_to(page, "#coco")
    with page.expect_download() as download:
        press(page, "Enter")
    assert len(json.loads(download.value.path().read_text())["annotations"]) == segments(page).count()

    heard = [line for line in page.evaluate("window.heard") if line != "Looking…"]
    expected = [
        "Found sky", "water", "Found sky", "Cut out 1", "Cut out 2", "Cut out 1", "Found sky",
    ]  # fmt: skip
    told = iter(heard)
    assert all(any(part in line for line in told) for part in expected), heard
