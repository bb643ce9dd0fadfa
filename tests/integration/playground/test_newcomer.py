"""Who has read nothing meets: the photograph to try, then a picture of his own, words as he writes them."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests import pictures
from tests.integration.playground.asking import (
    CHINA,
    FLOWER,
    SIZE,
    add,
    ask,
    choose,
    expect_result,
    place,
    rewrite,
    segments,
)
from tests.integration.playground.conftest import PHONE, opened
from tests.integration.playground.expect import expect
from tests.integration.server import Server

FOUND = "Found sky, building, trees"  # in the first photograph to try


def question_of(page: Page) -> dict[str, Any]:
    """What the page asks, as its address keeps it: a browser does not tell what a form with a picture says."""
    question: dict[str, Any] = json.loads(unquote(page.evaluate("location.hash.slice(1)")))
    return question


def link(server: Server, question: dict[str, Any]) -> str:
    return f"{server.url}/#{quote(json.dumps(question))}"


def test_a_picture_after_the_photograph_to_try_is_asked_for_what_the_visitor_chose(page: Page) -> None:
    add(page, "bicycle")
    page.click("#sample")
    expect_result(page, f"{FOUND}. Not found: bicycle.")
    add(page, "skateboard")
    expect_result(page, "Not found: bicycle, skateboard")
    with page.expect_response("**/v1/segment"):
        choose(page, FLOWER, "flower.jpg")
    expect(page.locator("#chips li")).to_have_count(2)
    assert question_of(page)["classes"] == ["bicycle", "skateboard"]
    assert question_of(page)["background"] is True
    page.get_by_role("button", name="New picture or clip").click()
    page.click("#sample")
    expect_result(page, FOUND)
    page.locator("#more summary").click()
    page.check("#background")
    page.uncheck("#background")

    with page.expect_response("**/v1/segment"):
        choose(page, FLOWER, "flower.jpg")

    assert question_of(page)["background"] is False


def test_words_of_before_the_models_are_known_stay(page: Page) -> None:
    held: list[Route] = []
    page.route("**/v1/models", lambda route: held.append(route))
    page.reload()
    page.click("#sample")
    expect(page.locator("#chips li")).to_have_count(3)

    for route in held:
        route.continue_()
    page.locator("body[data-ready]").wait_for()

    expect_result(page, FOUND)
    expect(page.locator("#chips li")).to_have_count(3)


@pytest.mark.parametrize(
    ("classes", "count"), [("sky", 0), ([None], 0), ([{"name": "sky", "synonyms": None, "examples": None}], 1)]
)
def test_a_link_opens_the_page_with_as_much_of_its_question_as_can_be_read(
    context: BrowserContext, server: Server, classes: Any, count: int
) -> None:
    page = opened(context, link(server, {"classes": classes}))

    expect(page.locator("#model option")).to_have_count(1)
    expect(page.locator("#chips li")).to_have_count(count)


def test_a_link_keeps_a_task_that_its_own_model_has_and_the_first_lacks(
    context: BrowserContext, server: Server
) -> None:
    def behind_another(cards: Any) -> Any:
        return cards | {"models": [{**cards["models"][0], "name": "regions", "tasks": ["semantic"]}, *cards["models"]]}

    rewrite(context, "**/v1/models", behind_another)

    page = opened(context, link(server, {"classes": ["sky"], "task": "panoptic", "model": "tiny"}))

    expect(page.locator("#model")).to_have_value("tiny")
    expect(page.locator("[name=task][value=panoptic]")).to_be_checked()
    expect(page.locator("[name=task][value=panoptic]")).to_be_enabled()


def test_commas_part_words_and_each_is_asked_once_however_it_is_spelt(page: Page) -> None:
    choose(page)
    page.fill("#word", "sky, tree|Tree|trees,Sky, ")
    page.get_by_role("button", name="Add", exact=True).click()

    assert question_of(page)["classes"] == ["sky", {"name": "tree", "synonyms": ["trees"]}]
    expect(page.locator("#chips li")).to_have_count(2)
    expect_result(page, "Found sky, tree.")
    add(page, "Sky")
    expect_result(page, "Sky: asked for already.")


def test_a_pasted_list_has_a_word_on_each_line(page: Page) -> None:
    page.evaluate(
        """() => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", "sky\\r\\n  tree \\n\\nsofa|couch\\n");
            document.getElementById("word").focus();
            const event = new ClipboardEvent("paste", { clipboardData, cancelable: true, bubbles: true });
            document.getElementById("word").dispatchEvent(event);
        }"""
    )
    page.press("#word", "Enter")

    assert question_of(page)["classes"] == ["sky", "tree", {"name": "sofa", "synonyms": ["couch"]}]


def test_what_the_browser_cannot_open_is_shown_as_the_service_reads_it(page: Page) -> None:
    photograph = pictures.photograph("china").resize((1500, 1000))
    choose(page, pictures.encoded(photograph, "TIFF"), "scan.tif")
    expect(page.locator("#canvas")).to_be_visible()

    with page.expect_response("**/v1/segment") as answered:
        add(page, "sky")

    assert "image" in json.loads(answered.value.request.post_data or "")  # an id: it has been sent already
    assert answered.value.json()["size"] == [1000, 1500]
    expect_result(page, "Found sky")


def test_buttons_for_objects_are_there_with_the_first(page: Page) -> None:
    ask(page, "sky")
    expect(page.locator("#correcting")).to_be_hidden()

    page.mouse.click(*place(page, 200, 290))
    expect_result(page, "Cut out 1 object")
    page.get_by_role("button", name="Delete", exact=True).press("Enter")

    expect(page.locator("#correcting")).to_be_hidden()
    expect(page.locator("#canvas")).to_be_focused()
    expect_result(page, "Found sky")


def test_a_named_list_says_that_words_rest(page: Page) -> None:
    ask(page, "sky")
    page.locator("#more summary").click()
    with page.expect_response("**/v1/segment") as answered:
        page.select_option("#vocabulary", "voc20")

    absent = json.loads(answered.value.body())["absent"]
    expect(page.locator("#listed")).to_have_text(
        "The list voc20 is asked, and not your words; adding a word ends that."
    )
    expect_result(page, f"Not found: {', '.join(absent[:8])} and {len(absent) - 8} more.")
    add(page, "tree")
    expect(page.locator("#listed")).to_be_hidden()
    expect_result(page, "Found sky, tree")


@pytest.mark.parametrize(
    "photograph", [CHINA, pictures.encoded(pictures.photograph("china").rotate(90, expand=True), "JPEG")]
)
def test_a_small_screen_leaves_no_bands_about_the_picture(screen: Callable[..., Page], photograph: bytes) -> None:
    page = screen(**PHONE)
    expect(page.get_by_text("Show it a picture")).to_be_visible()
    expect(page.get_by_text("Drop a picture here")).to_be_hidden()
    choose(page, photograph)
    add(page, "sky")
    expect_result(page, "Found sky")

    box = page.locator("#canvas").bounding_box()

    assert box is not None
    upright = photograph is not CHINA
    listed = page.locator("#columns").bounding_box()
    assert box["width"] == 390
    assert box["height"] == pytest.approx(0.55 * 844 if upright else 390 * SIZE[0] / SIZE[1], abs=1)
    assert listed is not None
    assert listed["y"] < 0.9 * 844  # the list begins on the first screen
    expect(segments(page).first).to_be_visible()
