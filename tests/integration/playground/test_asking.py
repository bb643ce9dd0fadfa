"""Words, clicks, boxes and keys in the browser, and what the page shows of the answer."""

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests import pictures
from tests.integration.playground.asking import (
    add,
    ask,
    choose,
    expect_result,
    place,
    segments,
)
from tests.integration.playground.conftest import PHONE, opened
from tests.integration.playground.expect import expect
from tests.integration.server import Server


def test_a_picture_may_be_dropped(page: Page) -> None:
    page.evaluate_handle(
        """async (url) => {
            const photograph = await (await fetch(url)).blob();
            const data = new DataTransfer();
            data.items.add(new File([photograph], "dropped.jpg", { type: "image/jpeg" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }""",
        "/playground/china.jpg",
    )
    add(page, "sky")

    expect_result(page, "Found sky")


def test_clicks_and_words_are_asked_about_by_themselves_and_without_the_picture(page: Page) -> None:
    ask(page, "sky", "trees")

    with page.expect_request("**/v1/segment") as clicked:
        page.mouse.click(*place(page, 200, 290))

    assert {"image", "prompts"} <= json.loads(clicked.value.post_data or "").keys()
    expect_result(page, re.compile("Cut out 1 object.*Found sky, trees"))
    expect(segments(page)).to_have_count(3)
    with page.expect_request("**/v1/segment") as asked:
        add(page, "tree")
    question = json.loads(asked.value.post_data or "")
    assert list(question["image"]) == ["id"]
    assert question["classes"] == ["sky", "trees", "tree"]
    expect_result(page, "Found sky, trees")


def test_the_switch_makes_a_click_remove(page: Page) -> None:
    choose(page)
    page.mouse.click(*place(page, 200, 290))
    expect_result(page, "Cut out 1 object")
    page.check("[name=sign][value=remove]")

    with page.expect_request("**/v1/segment") as asked:
        page.mouse.click(*place(page, 200, 200))

    (prompt,) = json.loads(asked.value.post_data or "")["prompts"]
    assert [point["positive"] for point in prompt["points"]] == [True, False]


def test_a_drag_beside_the_picture_is_no_click_on_its_edge(page: Page) -> None:
    choose(page, pictures.encoded(pictures.photograph("china").rotate(90, expand=True), "JPEG"))
    expect_result(page, "Type a word")
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + 200, steps=3)

    page.mouse.up()

    expect(page.locator("#correcting")).to_be_hidden()
    expect_result(page, "Type a word")


def test_a_long_press_of_a_finger_removes(screen: Callable[..., Page]) -> None:
    page = screen(**PHONE)
    choose(page)
    page.touchscreen.tap(*place(page, 200, 290))
    expect_result(page, "Cut out 1 object")
    finger = page.context.new_cdp_session(page)
    x, y = place(page, 200, 200)

    with page.expect_request("**/v1/segment") as asked:
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    (prompt,) = json.loads(asked.value.post_data or "")["prompts"]
    assert [point["positive"] for point in prompt["points"]] == [True, False]


def test_a_picture_without_words_shows_everything(page: Page) -> None:
    choose(page)
    page.check("[name=task][value=everything]")

    expect_result(page, re.compile(r"Found \d+ objects"))  # how many, the weights decide


def test_each_card_of_the_first_screen_finds_its_words(page: Page) -> None:
    cards = page.locator("#examples button:not(#lesson)")
    expect(cards).to_have_count(4)
    for card in cards.all():
        assert re.search("CC0|CC BY|public domain", card.inner_text())

        card.click()

        expect_result(page, f"Found {(card.get_attribute('data-words') or '').replace(',', ', ')}.")
        page.get_by_role("button", name="New picture or clip").click()


def test_the_link_asks_the_same_again(page: Page, context: BrowserContext, server: Server) -> None:
    add(page, "sky", "sofa|couch")
    page.locator("#more summary").click()
    page.check("[name=task][value=panoptic]")
    page.wait_for_url(re.compile("panoptic"))

    again = opened(context, page.url)

    expect(again.locator("#chips li")).to_have_count(2)
    assert again.is_checked("[name=task][value=panoptic]")


STRONGEST = """async () => {
    const { view } = await import("/playground/view.js");
    const context = new OffscreenCanvas(view.fills.width, view.fills.height).getContext("2d");
    context.drawImage(view.fills, 0, 0);
    const { data } = context.getImageData(0, 0, view.fills.width, view.fills.height);
    return data.reduce((most, value, index) => (index % 4 === 3 ? Math.max(most, value) : most), 0);
}"""


@pytest.mark.parametrize(("doubtful", "mark", "strongest"), [(True, "doubtful 0.49", 0x70), (False, "0.49", 0xFF)])
def test_what_is_doubtful_is_painted_fainter_and_called_so(
    page: Page, doubtful: bool, mark: str, strongest: int
) -> None:
    def rescored(route: Route) -> None:
        body = route.request.post_data_buffer or b""
        assert json.loads(body.split(b'name="request"')[1].split(b"\r\n")[2])["doubtful"]
        answer = route.fetch()
        content = answer.json()
        content["segments"] = [{**one, "score": 0.49, "doubtful": doubtful} for one in content["segments"]]
        route.fulfill(response=answer, json=content)

    page.route("**/v1/segment", rescored)
    choose(page)
    add(page, "sky")

    expect(segments(page).locator(".share")).to_have_text(re.compile(f"^{mark} ·"))
    expect(page.locator("#result")).to_have_text(f"Found sky{' (doubtful)' if doubtful else ''}.")
    page.locator("#canvas[data-painted]").wait_for()
    assert page.evaluate(STRONGEST) == strongest


def test_the_meaning_of_a_word_is_shown_and_another_one_may_be_taken(page: Page) -> None:
    choose(page)
    add(page, "crane")
    meaning = page.locator("#meanings li")
    expect(meaning).to_have_text(re.compile("^crane: (lifts|large)"))
    other = meaning.locator("button").inner_text()

    with page.expect_request("**/v1/segment") as asked:
        meaning.locator("button").click()

    assert other in (asked.value.post_data or "")
    expect(meaning).to_have_text(f"crane: {other}any meaning")
    meaning.locator("button").click()
    expect(meaning).to_have_text(re.compile("^crane: (lifts|large)"))
    expect(meaning.locator("button")).to_have_text(other)
