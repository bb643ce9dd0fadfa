"""One list of actions for the engine of a server and for that of the browser; that without threads is `site/`'s."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Page

from tests.http_server import serving_files
from tests.integration.playground.asking import (
    CHINA,
    FLOWER,
    add,
    choose,
    choose_many,
    drag,
    expect_result,
    picture,
    place,
    segments,
    unpacked,
)
from tests.integration.playground.conftest import opened, reload
from tests.integration.playground.expect import expect
from tests.integration.server import Server

pytestmark = pytest.mark.slow

ENGINES = ["server", "browser"]


@pytest.fixture(scope="module", params=ENGINES)
def shown(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 820})
    with ExitStack() as stack:
        url = server.url
        if request.param == "browser":
            url = stack.enter_context(serving_files(request.getfixturevalue("folder"))) + "/site/"
        page = opened(context, url)
        if request.param == "browser":
            reload(page)
        assert page.evaluate("crossOriginIsolated") == (request.param == "browser")
        yield page
        context.close()


@pytest.fixture
def page(shown: Page) -> Page:
    """The photograph, no words, and all scores."""
    while shown.locator("#chips button").count():
        shown.locator("#chips button").last.click()
    shown.evaluate("document.getElementById('threshold').value = 0")  # shown beside segments only
    choose(shown)
    expect_result(shown, "Type a word")
    return shown


def test_words_give_masks_with_names_scores_and_a_preview_of_clicks(page: Page) -> None:
    page.mouse.move(*place(page, 320, 20))
    add(page, "sky")
    expect(page.locator("#hover")).to_contain_text("sky")  # what lies under a pointer that rests
    add(page, "tree|trees", "toothbrush")
    expect_result(page, "Found sky, tree. Not found: toothbrush.")
    expect(page.locator("#chips li.absent")).to_contain_text("toothbrush")
    expect(page.locator("#segments li.low")).to_have_count(0)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.fill("#threshold", "1")

    expect(page.locator("output[for=threshold]")).to_have_text("1.00")
    expect(page.locator("#segments li.low")).not_to_have_count(0)
    assert asked == []
    while page.locator("#chips button").count():
        page.locator("#chips button").last.click()
    expect(page.locator("#hover")).to_be_empty()
    expect_result(page, "Type a word")
    page.mouse.move(*place(page, 200, 290))
    page.locator("#canvas[data-outlined]").wait_for()


def test_clicks_and_boxes_cut_out_objects_and_undo_takes_them_back(page: Page) -> None:
    page.mouse.click(*place(page, 200, 290))
    expect_result(page, "Cut out 1 object")
    page.click("#next")
    page.mouse.click(*place(page, 560, 330))
    expect_result(page, "Cut out 2 objects")
    page.click("#undo")
    expect_result(page, "Cut out 1 object")
    page.click("#undo")
    expect_result(page, "Type a word")
    page.click("#redo")
    expect_result(page, "Cut out 1 object")
    page.click("#undo")
    add(page, "building", "sky")
    expect_result(page, "Found building, sky")

    drag(page, (360, 10), (630, 130))

    expect_result(page, "Cut out 1 object")
    expect_result(page, "Found building, sky")
    expect(segments(page)).to_have_count(3)
    expect(segments(page).first).to_contain_text("sky")


def test_segments_of_words_are_corrected_and_keep_their_labels(page: Page) -> None:
    add(page, "sky", "building")
    expect_result(page, "Found sky, building")
    line = segments(page).nth(1).locator(".share")
    before = line.text_content() or ""
    page.get_by_role("button", name="Correct building").click()
    expect(page.locator("#correcting")).to_contain_text("Correcting building")

    page.mouse.click(*place(page, 560, 330))  # the trees

    expect(line).not_to_have_text(before)
    expect(segments(page)).to_have_count(2)
    expect(segments(page).nth(1)).to_contain_text("building")
    share = (line.text_content() or "").split("·")[1]
    add(page, "toothbrush")  # the words are asked again; the correction stays
    expect_result(page, "Not found: toothbrush")
    expect(line).to_contain_text(share)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#chips li")).to_have_count(2)
    expect(line).to_contain_text(share)
    page.get_by_role("button", name="Undo").click()
    expect(line).to_have_text(before)
    page.get_by_role("button", name="Done").click()
    expect(page.locator("#correcting")).to_be_hidden()
    add(page, "trees")
    expect(segments(page)).to_have_count(3)
    sky = segments(page).nth(0).locator(".share")
    whole = sky.text_content() or ""
    page.locator("#canvas[data-painted]").wait_for()

    page.mouse.click(*place(page, 509, 95), button="right")  # removes what is around it, and not half a sky

    expect(sky).not_to_have_text(whole)
    most, left = (float((each or "").split("·")[1].removesuffix("%")) for each in (whole, sky.text_content()))
    assert 0.8 * most < left < most
    page.get_by_role("button", name="Undo").click()
    expect(sky).to_have_text(whole)


# Stops the labelling once it says how long it takes, which it does at the first picture after one that is done.
STOP = """() => new MutationObserver((_, observer) => {
    const told = document.getElementById("doing").textContent;
    if (!told.includes("left")) return;
    observer.disconnect();
    window.told = told;
    document.getElementById("cancel").click();
}).observe(document.getElementById("doing"), { childList: true })"""


def test_many_pictures_are_labelled_stopped_resumed_and_become_one_zip(page: Page) -> None:
    page.once("dialog", lambda dialog: dialog.accept())
    page.evaluate("document.getElementById('many').open = true")
    page.get_by_role("button", name="Erase").click()
    expect(page.locator("#kept")).to_be_empty()
    note = page.locator("#note")
    files = {"a.jpg": CHINA, "notes.jpg": b"none", "b.jpg": FLOWER, "c.jpg": CHINA, "a.png": CHINA}
    choose_many(page, *(picture(name, content) for name, content in files.items()))
    expect(note).to_contain_text("4 of 5 pictures are added. Left out: notes.jpg is not a picture")
    add(page, "sky", "flower")
    expect_result(page, re.compile("Found sky.*flower"))
    page.evaluate(STOP)

    page.get_by_role("button", name="Label all").click()
    expect(note).to_contain_text("Stopped.")
    expect(page.locator("#progress")).to_be_hidden()
    assert 0 < page.locator("#strip .new").count() < 3
    assert re.fullmatch(r"3 of 3: a\.png; about \d+ .+ left", page.evaluate("window.told"))
    page.get_by_role("button", name="Label all").click()
    expect(note).to_contain_text("4 of 4 pictures are labelled.")

    files = unpacked(page, "#export-project")

    assert files["images/a.jpg"] == files["images/a-2.png"] == CHINA
    coco = json.loads(files["annotations/instances_default.json"])
    assert [each["file_name"] for each in coco["images"]] == ["a.jpg", "b.jpg", "c.jpg", "a-2.png"]
    names = {each["id"]: each["name"] for each in coco["categories"]}
    found = {(one["image_id"], names[one["category_id"]]) for one in coco["annotations"]}
    assert {(1, "sky"), (3, "sky"), (4, "sky")} <= found
    assert [len(files[f"labels/{name}.txt"].splitlines()) for name in ("a", "b", "c", "a-2")] == [
        sum(one["image_id"] == image for one in coco["annotations"]) for image in (1, 2, 3, 4)
    ]
    assert [each.attrib["id"] for each in ElementTree.fromstring(files["cvat.xml"]).iter("image")] == [*"0123"]
    assert {"geojson/b.geojson", "masks/a-sky-mask.png", "data.yaml"} <= files.keys()
