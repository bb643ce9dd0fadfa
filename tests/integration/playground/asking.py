"""What a visitor does on the playground."""

import re
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, FilePayload, Locator, Page, Route

from tests import pictures
from tests.integration.playground.expect import expect

CHINA = pictures.encoded(pictures.photograph("china"), "JPEG")
FLOWER = pictures.encoded(pictures.photograph("flower"), "JPEG")
SIZE = (427, 640)


def unpacked(page: Page, button: str) -> dict[str, bytes]:
    """The files of the zip that a press of a button brings."""
    with page.expect_download() as download:
        page.click(button)
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def asked_directly(url: str, *words: str) -> list[dict[str, Any]]:
    """The segments of the photograph, without a page."""
    files = {"image": ("china.jpg", CHINA)}
    answer = httpx.post(f"{url}/v1/segment", data={"classes": words}, files=files, timeout=60).raise_for_status()
    segments: list[dict[str, Any]] = answer.json()["segments"]
    return segments


def picture(name: str, content: bytes = CHINA) -> FilePayload:
    """A file to choose."""
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def choose(page: Page, content: bytes = CHINA, name: str = "china.jpg") -> None:
    page.set_input_files("#file", picture(name, content))


def choose_many(page: Page, *files: FilePayload) -> None:
    """Add pictures to the project, whose menu is then open."""
    page.evaluate("document.getElementById('many').open = true")
    page.set_input_files("#files", [*files])


def add(page: Page, *words: str) -> None:
    for word in words:
        page.fill("#word", word)
        page.press("#word", "Enter")


def ask(page: Page, *words: str) -> None:
    """Choose the photograph, and wait until all of some words are found in it."""
    choose(page)
    add(page, *words)
    expect_result(page, f"Found {', '.join(words)}")


def rewrite(place: Page | BrowserContext, url: str, change: Callable[[Any], Any], times: int | None = None) -> None:
    """Let a page have what `change` makes of the JSON of answers."""

    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=change(response.json()))

    place.route(url, answer, times=times)


def without_heads(context: BrowserContext) -> None:
    """A service that does not teach, as far as a page knows."""
    rewrite(context, "**/v1/models", lambda cards: cards | {"features": [*{*cards["features"]} - {"heads"}]})


class UnderWay:
    """How many questions were on their way at once, at most, as the page knows it.

    A browser tells of a request's end beside the page, which may have asked the next one by then.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        page.evaluate(
            """() => {
                const count = (window.underWay = { now: 0, most: 0 });
                const { send } = XMLHttpRequest.prototype;
                XMLHttpRequest.prototype.send = function (content) {
                    count.most = Math.max(count.most, (count.now += 1));
                    this.addEventListener("readystatechange", () => this.readyState === 4 && (count.now -= 1));
                    return send.call(this, content);
                };
            }"""
        )

    @property
    def most(self) -> int:
        most: int = self._page.evaluate("window.underWay.most")
        return most


def until(page: Page, condition: str) -> None:
    """Waits for what an expression says to hold.

    As a function: an expression would be evaluated in the page again and again, which its security policy forbids from
    the second time on.
    """
    page.wait_for_function(f"() => {condition}")


def until_resolved(page: Page, condition: str, patience: float = 60_000.0) -> None:
    """Waits until an asynchronous function of the page returns true; `wait_for_function` takes its promise as true."""
    page.evaluate(
        f"""async (patience) => {{
            const condition = {condition};
            for (const began = performance.now(); !(await condition()); ) {{
                if (performance.now() - began > patience) throw new Error("it did not come true in time");
                await new Promise((resolve) => setTimeout(resolve, 50));
            }}
        }}""",
        patience,
    )


def settled(page: Page) -> None:
    """Waits until the page asks nothing, and its answer is painted."""
    until_resolved(
        page,
        """async () => {
            const { state } = await import("/playground/page.js");
            const { asking } = await import("/playground/question.js");
            return !asking() && (!state.answer || state.map !== null);
        }""",
    )


def expect_result(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("#result")).to_contain_text(text)


def segments(page: Page) -> Locator:
    return page.locator("#segments li")


def place(page: Page, x: float, y: float, size: tuple[int, int] = SIZE) -> tuple[float, float]:
    """Where on the page a pixel of a picture [H, W] lies, once it is there, as long as nobody has zoomed."""
    page.locator("#canvas").wait_for()
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    zoom = min(box["width"] / size[1], box["height"] / size[0])
    left = box["x"] + (box["width"] - size[1] * zoom) / 2
    top = box["y"] + (box["height"] - size[0] * zoom) / 2
    return left + x * zoom, top + y * zoom


def drag(page: Page, start: tuple[float, float], end: tuple[float, float], size: tuple[int, int] = SIZE) -> None:
    """Drag from one pixel of a picture [H, W] to another."""
    page.mouse.move(*place(page, *start, size))
    page.mouse.down()
    page.mouse.move(*place(page, *end, size), steps=4)
    page.mouse.up()
