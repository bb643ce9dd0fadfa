"""Writes pictures of the page: a server of its own, in Chromium, with the photographs to try.

- playground.png: a photograph, answered.
- annotate-review.webp, annotate-correct.webp: a project of four photographs, labelled; a mask that a brush corrects.
- teach.webp: the page is taught, for the README's first screen.

`python -m docs.write_playground` in a checkout; Chromium as tests/integration/playground needs it.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw
from playwright.sync_api import FilePayload, Locator, Page, expect, sync_playwright

from tests import chromium, pictures
from tests.integration.playground.asking import place
from tests.integration.server import Server

PICTURES = Path(__file__).with_name("pictures")
SIZE = {"width": 1200, "height": 640}
COLOURS = 224
PATIENCE = 120_000.0  # milliseconds
ANIMATION = "teach.webp"
LESSON = 6  # pictures
ANIMATION_SIZE = (900, 480)
QUALITY = 70
ALBUM = ("flower", "coffee", "chelsea", "china")
WORDS = ("flower", "cup", "cat", "building")
CLOSER = -550  # pixels that the wheel turns: four times as large
STROKE = ((335, 335), (535, 388))  # from a pixel of the last photograph to a place on the page
POINTING, LOOKING = 900, 2200  # milliseconds that a frame is shown
POINTER = ((0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12))  # outline of an arrow, in pixels


class Scene(NamedTuple):
    """One frame, and the milliseconds that it is shown."""

    frame: Image.Image
    shown: int


@contextmanager
def pages(url: str) -> Iterator[Callable[[], Page]]:
    """What opens a new page of a server."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium.path(), args=["--no-sandbox"])

        def opened() -> Page:
            page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            page.set_default_timeout(PATIENCE)
            page.goto(url)
            page.locator("body[data-ready]").wait_for()
            return page

        yield opened
        browser.close()


def scenes(page: Page) -> Iterator[Scene]:
    """The first lesson: accept two pictures of six, look at the others."""
    page.get_by_role("button", name="Teach: accept two").click()
    expect(page.locator("#strip :is(.labelled, .empty)")).to_have_count(LESSON, timeout=PATIENCE)
    accept = page.get_by_role("button", name="Accept", exact=True)
    for number in (1, 2):
        yield Scene(answered(page, "Found"), LOOKING)
        yield Scene(pointed(page, accept), POINTING)
        accept.click()
        expect(page.locator("#learned")).to_contain_text(f"Learned from {number}", timeout=PATIENCE)
        expect(page.locator("#strip .changed")).not_to_have_count(0, timeout=PATIENCE)
    for number in range(2, LESSON):
        page.locator("#strip button").nth(number).click()
        yield Scene(answered(page, "Found"), POINTING)


def photograph(name: str, picture: Image.Image) -> FilePayload:
    """A picture as a file to choose."""
    return {"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": pictures.encoded(picture, "JPEG")}


def answered(page: Page, result: str) -> Image.Image:
    """The page after an answer, which the words below it begin with, has been painted."""
    expect(page.locator("#result")).to_contain_text(result, timeout=PATIENCE)
    page.locator("#canvas[data-painted]").wait_for()
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    return shot(page)


def shot(page: Page) -> Image.Image:
    """The page as it is."""
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def pointed(page: Page, element: Locator) -> Image.Image:
    """The page with an arrow over an element."""
    element.hover()
    picture, box = shot(page), element.bounding_box()
    if box is not None:
        x, y = box["x"] + min(box["width"] / 2, 60), box["y"] + box["height"] / 2
        ImageDraw.Draw(picture).polygon([(x + right, y + down) for right, down in POINTER], "black", "white")
    return picture


def ask(page: Page, folder: Path = PICTURES) -> None:
    """Write playground.png."""
    content = pictures.file("china.jpg")
    page.set_input_files("#file", {"name": "china.jpg", "mimeType": "image/jpeg", "buffer": content})
    page.fill("#word", "sky, building, trees")
    page.press("#word", "Enter")
    painted = answered(page, "Found sky, building, trees.")
    painted.quantize(COLOURS).save(folder / "playground.png", optimize=True)


def annotate(page: Page, folder: Path = PICTURES) -> None:
    """Write annotate-review.webp and annotate-correct.webp."""
    page.evaluate("document.getElementById('many').open = true")
    page.set_input_files("#files", [photograph(name, pictures.photograph(name)) for name in ALBUM])
    expect(page.locator("#strip li")).to_have_count(len(ALBUM), timeout=PATIENCE)
    page.fill("#word", ", ".join(WORDS))
    page.press("#word", "Enter")
    page.get_by_role("button", name="Label all").click()
    expect(page.locator("#strip .labelled")).to_have_count(len(ALBUM), timeout=PATIENCE)
    page.get_by_role("button", name="Accept", exact=True).click()
    page.locator("#strip button").last.click()
    page.evaluate("document.getElementById('timings').style.visibility = 'hidden'")
    page.get_by_role("button", name="Correct building").click()
    page.locator("#panel").evaluate("(panel) => panel.scrollTo(0, 0)")
    page.mouse.move(0, 0)
    answered(page, "building").save(folder / "annotate-review.webp", quality=QUALITY)
    page.check("[name=sign][value=brush]")
    page.mouse.move(*place(page, *STROKE[0]))
    page.mouse.wheel(0, CLOSER)
    page.mouse.down()
    page.mouse.move(STROKE[1][0], STROKE[1][1], steps=8)
    page.mouse.up()
    answered(page, "building").save(folder / "annotate-correct.webp", quality=QUALITY)


def animate(page: Page, folder: Path = PICTURES) -> None:
    """Write teach.webp."""
    # They are those of the machine that runs this.
    page.evaluate("document.getElementById('timings').style.visibility = 'hidden'")
    made = [*scenes(page)]
    first, *rest = (scene.frame.resize(ANIMATION_SIZE, Image.Resampling.LANCZOS) for scene in made)
    shown = [scene.shown for scene in made]
    first.save(folder / ANIMATION, save_all=True, append_images=rest, duration=shown, loop=0, quality=QUALITY)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as logs, Server(Path(logs) / "log.jsonl") as server, pages(server.url) as opened:
        for write in (ask, annotate, animate):
            write(opened())
