"""What a click would cut out is shown before it is made."""

import io
import json
from collections.abc import Callable
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Request

from tests import coco
from tests.integration.playground.asking import CHINA, SIZE, UnderWay, add, ask, choose, expect_result, place, rewrite
from tests.integration.playground.conftest import PHONE, opened, reload
from tests.integration.playground.expect import expect
from tests.integration.server import Server

LONG = 2000  # milliseconds; longer than a pointer has to rest


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Page:
    """Its clock runs, and can be put forward."""
    context.clock.install()
    page = opened(context, server.url)
    ask(page, "sky")
    page.locator("#chips button").click()
    expect_result(page, "Type a word")
    return page


def rest(page: Page, x: float, y: float) -> None:
    page.mouse.move(*place(page, x, y))
    page.clock.fast_forward(LONG)


def expect_outline(page: Page) -> None:
    page.locator("#canvas[data-outlined]").wait_for()


def questions(page: Page) -> list[dict[str, Any]]:
    """What is asked from now on."""
    asked: list[dict[str, Any]] = []

    def hear(request: Request) -> None:
        if request.url.endswith("/v1/segment"):
            text = request.post_data or ""
            asked.append(json.loads(text) if text.startswith("{") else {})  # {}: with the file

    page.on("request", hear)
    return asked


def seen(page: Page) -> NDArray[np.int16]:
    """The photograph's place on the screen, [h, w, 3], once all is drawn that is there to draw."""
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    (left, top), (right, bottom) = place(page, 0, 0), place(page, SIZE[1], SIZE[0])
    clip = {"x": round(left), "y": round(top), "width": round(right - left), "height": round(bottom - top)}
    shot = Image.open(io.BytesIO(page.screenshot(clip=clip)))  # type: ignore[arg-type]
    return np.asarray(shot.convert("RGB")).astype(np.int16)


def test_a_resting_pointer_outlines_what_a_click_would_cut_out(page: Page, server: Server) -> None:
    before = seen(page)
    asked = questions(page)
    rest(page, 200, 290)
    expect_outline(page)

    (question,) = asked
    assert list(question["image"]) == ["id"]  # no upload
    answer = httpx.post(
        f"{server.url}/v1/segment",
        files={"image": ("china.jpg", CHINA)},
        data={"request": json.dumps({key: value for key, value in question.items() if key != "image"})},
        timeout=60,
    )
    changed = np.abs(seen(page) - before).max(axis=2) > 8
    mask = coco.decode(answer.raise_for_status().json()["segments"][0]["mask"]).astype(np.uint8)
    scaled = cv2.resize(mask, changed.shape[::-1], interpolation=cv2.INTER_NEAREST)
    inside = cv2.erode(scaled, np.ones((13, 13), np.uint8), borderValue=0)
    around = cv2.dilate(scaled, np.ones((7, 7), np.uint8))
    assert changed.sum() > 500
    assert not (changed & (inside > 0)).any()
    assert not (changed & (around == 0)).any()


def test_the_upload_for_a_preview_is_not_reported(page: Page) -> None:
    page.evaluate("document.getElementById('result').textContent = ''")  # it said so before the picture, too
    choose(page, name="again.jpg")
    expect_result(page, "Type a word")
    page.evaluate(
        """() => {
            window.told = [];
            const result = document.getElementById("result");
            new MutationObserver(() => told.push(result.textContent)).observe(result, { childList: true });
        }"""
    )

    rest(page, 200, 290)

    expect_outline(page)
    # The page may repeat its invitation, once it knows what the model does.
    assert [text for text in page.evaluate("told") if not text.startswith("Type a word")] == []


def test_it_goes_when_the_pointer_goes_on_and_the_click_is_one_question(page: Page) -> None:
    asked = questions(page)
    rest(page, 200, 290)
    expect_outline(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)  # else the pointer may rest there, too
    page.mouse.move(*place(page, 300, 100))
    expect(page.locator("#canvas[data-outlined]")).to_have_count(0)

    page.mouse.click(*place(page, 200, 290))
    page.clock.resume()

    expect_result(page, "Cut out 1 object")
    assert [len(question["prompts"]) for question in asked] == [1, 1]


def test_never_more_than_one_is_on_its_way(page: Page) -> None:
    under_way = UnderWay(page)
    for x in range(60, 600, 60):
        rest(page, x, 250)
    expect_outline(page)

    assert under_way.most == 1


@pytest.mark.parametrize("why", ["switched off", "no prompts"])
def test_none_is_asked_for(page: Page, why: str) -> None:
    def without_prompts(cards: Any) -> Any:
        return cards | {"models": [{**card, "tasks": [*{*card["tasks"]} - {"prompt"}]} for card in cards["models"]]}

    if why == "switched off":
        page.locator("#more summary").click()
        page.uncheck("#preview")
    else:
        rewrite(page, "**/v1/models", without_prompts)
        reload(page)
        choose(page)
        expect_result(page, "Type a word")
    asked = questions(page)

    rest(page, 200, 290)
    add(page, "sky")

    expect_result(page, "Found sky")
    assert [question.get("prompts") for question in asked] == [None]


def test_a_finger_is_not_asked_about(screen: Callable[..., Page]) -> None:
    page = screen(**PHONE)
    page.clock.install()
    reload(page)
    choose(page)
    page.locator("#more summary").click()
    expect(page.locator("#previews")).to_be_hidden()
    expect_result(page, "Type a word")
    asked = questions(page)

    page.touchscreen.tap(*place(page, 200, 290))
    page.clock.fast_forward(LONG)

    expect_result(page, "Cut out 1 object")
    assert len(asked) == 1
