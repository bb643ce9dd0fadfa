"""The page in a chat, in a real browser, in a host by the specification of MCP Apps, before a real server."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FrameLocator, Page, Route, expect, sync_playwright

from tests import chromium
from tests.integration.server import Server

HOST = Path(__file__).with_name("chat_host.html")
SKY = (0.5, 0.1)  # shares of width and height
PATIENCE = 60_000.0  # milliseconds; a loaded machine needs a tenth of it
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, chromium.started(playwright) as browser:
        yield browser


@pytest.fixture
def chat(browser: Browser, server: Server, photo: Path) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route("**/host.html", lambda route: route.fulfill(path=HOST, content_type="text/html"))
    page.goto(f"{server.url}/host.html")
    image = f"{photo.parent.name}/{photo.name}"  # in the folder of the server
    page.evaluate("given => begin('segment', given)", {"image": image, "words": ["sky", "building", MARKUP]})
    yield page
    page.close()
    assert not faults


def view(chat: Page) -> FrameLocator:
    return chat.frame_locator("#view")


def click(chat: Page, place: tuple[float, float]) -> None:
    stage = view(chat).locator("#stage")
    box = stage.bounding_box()
    assert box is not None
    stage.click(position={"x": place[0] * box["width"], "y": place[1] * box["height"]})


def seen(chat: Page, what: str) -> Any:
    return chat.evaluate(f"seen.{what}")


def test_a_page_in_a_chat_shows_the_painted_picture_and_what_was_found(chat: Page) -> None:
    told = view(chat).locator("#told")

    expect(told).to_contain_text("sky")
    expect(told).to_contain_text(f"no {MARKUP}")
    shown = np.asarray(Image.open(io.BytesIO(view(chat).locator("#stage").screenshot())).convert("RGB"))
    assert shown.std() > 20  # a picture, not an empty page
    assert chat.locator("#view").bounding_box()["height"] > 200  # type: ignore[index]  # as the page said
    assert seen(chat, "initialize")["appInfo"]["name"] == "lexiseg"
    assert seen(chat, "ponged")
    assert seen(chat, "mimeType") == "text/html;profile=mcp-app"


def test_clicks_on_it_and_outside_cut_out_and_tell_the_model(chat: Page) -> None:
    told = view(chat).locator("#told")
    expect(told).to_contain_text("sky")

    click(chat, SKY)
    expect(told).to_contain_text("Cut out")
    before = seen(chat, "contexts")[-1]["structuredContent"]["segment"]["percent"]
    view(chat).locator("[name=sign][value='-']").check()
    click(chat, (0.5, 0.8))
    expect(view(chat).locator("circle")).to_have_count(2)
    chat.wait_for_function("seen.contexts.length === 2")

    calls = seen(chat, "calls")
    assert [call["name"] for call in calls] == ["cut_out", "cut_out"]
    on, outside = calls[1]["arguments"]["points"]
    assert (on["positive"], outside["positive"]) == (True, False)
    assert (on["x"], on["y"]) == (pytest.approx(320, abs=2), pytest.approx(43, abs=2))
    context = seen(chat, "contexts")[1]["structuredContent"]
    assert context["points"] == [on, outside]
    assert before > 5
    expect(view(chat).locator("#piece")).to_have_attribute("href", re.compile("^data:image/png"))


def test_the_page_reaches_no_network(chat: Page, photo: Path) -> None:
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(path=photo)

    chat.route("https://example.org/**", answer)
    expect(view(chat).locator("#told")).to_contain_text("sky")

    reached = chat.frames[1].evaluate(
        """async (url) => [
            await fetch(url, { mode: "no-cors" }).then(() => true, () => false),
            await new Promise((resolve) => {
                const image = new Image();
                Object.assign(image, { onload: () => resolve(true), onerror: () => resolve(false), src: url });
            }),
        ]""",
        "https://example.org/picture.jpg",
    )

    assert reached == [False, False]
    assert asked == []
    assert set(seen(chat, "ui")["csp"]) == {"connectDomains", "resourceDomains", "frameDomains", "baseUriDomains"}
    assert not any(seen(chat, "ui")["csp"].values())
