"""After every edit all exports hold, pixel by pixel, what the canvas shows in full colours."""

import base64
import io
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Page

from tests import coco
from tests.integration.playground.asking import (
    SIZE,
    add,
    choose,
    place,
    rewrite,
    segments,
    settled,
    unpacked,
    without_heads,
)
from tests.integration.playground.conftest import opened
from tests.integration.playground.expect import expect
from tests.integration.playground.project.test_editing import labelled, masks, stroke
from tests.integration.server import Server

EDITS = 6
SEEDS = range(13, 13 + int(os.environ.get("PAGE_SEEDS", "1")))
HEIGHT, WIDTH = SIZE

# The name of the segment whose colour each pixel of the canvas's masks has, as its place in `names`; 0: none, or faint,
# as what is doubtful is.
SCREEN = """async () => {
    const { colourOf, state } = await import("/playground/page.js");
    const { view } = await import("/playground/view.js");
    if (!state.answer) return { names: [], numbers: btoa("") };
    const { width, height } = view.fills;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(view.fills, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const names = state.answer.segments.map(({ label }) => label ?? "object");
    const channels = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
    const inks = state.answer.segments.map(({ colour }) => channels(colourOf(colour)));
    const numberOf = (colour) => {
        const away = inks.map((ink) => Math.max(...ink.map((value, channel) => Math.abs(value - colour[channel]))));
        return 1 + away.indexOf(Math.min(...away));
    };
    const pixels = new Uint32Array(data.buffer);
    const numbers = new Uint8Array(width * height);
    for (let i = 0; i < numbers.length; i++) {
        if (data[4 * i + 3] < 255) continue;
        const isAsBefore = i > 0 && pixels[i] === pixels[i - 1]; // as most are
        numbers[i] = isAsBefore ? numbers[i - 1] : numberOf(data.subarray(4 * i, 4 * i + 3));
    }
    const parts = [];
    for (let i = 0; i < numbers.length; i += 4096) parts.push(String.fromCharCode(...numbers.subarray(i, i + 4096)));
    return { names, numbers: btoa(parts.join("")) };
}"""

# What is on top along a row: places among the segments.
TOP = """async ([row, left, right]) => {
    const { cells, width } = (await import("/playground/page.js")).state.map;
    return Array.from(cells.subarray(row * width + left, row * width + right));
}"""

Names = NDArray[np.object_]  # [H, W], "" where nothing is
Layers = Iterable[tuple[str, NDArray[np.bool_]]]  # the last on top


def screen(page: Page) -> Names:
    """What the canvas shows, but for what is doubtful."""
    seen: dict[str, Any] = page.evaluate(SCREEN)
    numbers = np.frombuffer(base64.b64decode(seen["numbers"]), np.uint8)
    if not len(numbers):
        return np.full(SIZE, "", object)
    names: Names = np.array(["", *seen["names"]], object)[numbers.reshape(SIZE)]
    return names


def painted(layers: Layers) -> Names:
    names = np.full(SIZE, "", object)
    for name, mask in layers:
        names[mask] = name
    return names


def of_coco(files: dict[str, bytes]) -> Layers:
    read = json.loads(files["annotations/instances_default.json"])
    names = {category["id"]: category["name"] for category in read["categories"]}
    return [(names[one["category_id"]], coco.decode(one["segmentation"]).astype(bool)) for one in read["annotations"]]


def of_label_maps(files: dict[str, bytes]) -> Layers:
    names = json.loads(files["label-maps/classes.json"])
    numbers = np.asarray(Image.open(io.BytesIO(files["label-maps/china.png"])))
    return [(name, numbers == int(number)) for number, name in names.items() if number != "0"]


def of_voc_objects(files: dict[str, bytes]) -> Layers:
    """The objects, named as in COCO, whose order they have."""
    numbers = np.asarray(Image.open(io.BytesIO(files["voc/SegmentationObject/china.png"])))
    return [(name, numbers == number) for number, (name, _) in enumerate(of_coco(files), 1)]


# That the other formats hold the same: tests/service/web/test_formats.py.
READERS: tuple[Callable[[dict[str, bytes]], Layers], ...] = (of_coco, of_label_maps, of_voc_objects)


def check(page: Page, selector: str, what: object) -> None:
    """Compare the exports behind a button with the canvas."""
    shows = screen(page)
    files = unpacked(page, selector)
    for read in READERS:
        names = painted(read(files))
        different = names != shows
        pairs = Counter(zip(names[different], shows[different], strict=True))
        assert not pairs, f"{read.__name__} after {what}: (export, canvas) {dict(pairs)}"


class Visitor:
    """Does one thing after the other, by a seed."""

    def __init__(self, page: Page, seed: int) -> None:
        self.page = page
        self.random = random.Random(seed)
        self.words = ["water", "wall"]
        self.done: list[object] = []

    def point(self) -> tuple[float, float]:
        return self.random.uniform(20, WIDTH - 20), self.random.uniform(20, HEIGHT - 20)

    def sign(self, value: str) -> None:
        self.page.check(f"[name=sign][value={value}]")

    def correct(self) -> None:
        """Choose a segment of the list, or none."""
        pens = self.page.locator("#segments .correct[aria-pressed=false]")
        if pens.count() and self.random.random() < 0.8:
            pens.nth(self.random.randrange(pens.count())).click()
        else:
            self.page.press("#canvas", "n")

    def brush(self) -> None:
        self.correct()
        self.sign(self.random.choice(["brush", "brush", "brush", "eraser"]))
        self.page.fill("#radius", str(self.random.randint(10, 60)))
        stroke(self.page, self.point(), self.point())

    def click(self) -> None:
        self.correct()
        self.sign(self.random.choice(["add", "add", "remove"]))
        self.page.mouse.click(*place(self.page, *self.point()))

    def undo(self) -> None:
        self.page.press("#canvas", "Control+z")

    def redo(self) -> None:
        self.page.press("#canvas", "Control+Shift+z")

    def delete(self) -> None:
        self.correct()
        self.page.press("#canvas", "d")

    def rename(self) -> None:
        self.correct()
        self.page.press("#canvas", str(self.random.randint(1, 3)))

    def split(self) -> None:
        self.correct()
        self.page.press("#canvas", "s")

    def accept(self) -> None:
        self.page.press("#canvas", "a")

    def ask(self) -> None:
        if self.words:
            add(self.page, self.words.pop())

    def act(self) -> None:
        """One of its acts; the canvas is painted after it."""
        acts = [self.brush] * 6 + [self.click] * 3 + [self.undo] * 2 + [self.redo, self.delete, self.rename, self.split]
        act = self.random.choice([*acts, self.accept, self.ask])
        act()
        self.done.append(act.__name__)
        settled(self.page)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_exports_equal_the_canvas_after_random_edits(
    context: BrowserContext, server: Server, task: str, seed: int
) -> None:
    without_heads(context)  # what is learned answers after the edit
    page = opened(context, server.url)
    page.check(f"[name=task][value={task}]")
    choose(page)
    add(page, "sky", "building", "trees")
    expect(page.locator("#chips li")).to_have_count(3)
    settled(page)
    page.evaluate("['export', 'many'].forEach((id) => (document.getElementById(id).open = true))")
    visitor = Visitor(page, seed)

    for number in range(EDITS):
        visitor.act()
        if segments(page).count():
            check(page, "#zip" if number == EDITS - 1 else "#export-project", visitor.done)


def test_what_is_doubtful_is_exported_once_it_is_accepted(context: BrowserContext, server: Server) -> None:
    def doubted(answer: Any) -> Any:
        return answer | {"segments": [{**one, "doubtful": True} for one in answer["segments"]]}

    without_heads(context)
    rewrite(context, "**/v1/segment", doubted)
    page = opened(context, server.url)
    labelled(page, "sky")
    settled(page)
    page.evaluate("['export', 'many'].forEach((id) => (document.getElementById(id).open = true))")
    for button in ("#zip", "#export-project"):
        assert not list(of_coco(unpacked(page, button)))
    expect(page.locator("#strip button")).to_have_attribute("title", re.compile(": empty$"))
    expect(page.locator("#counts")).to_be_empty()

    page.press("#canvas", "a")

    expect(page.locator("#counts")).to_have_text("sky in 1")

    expect(segments(page)).not_to_contain_text("doubtful")
    settled(page)
    assert (screen(page) == "sky").any()
    for button in ("#zip", "#export-project"):
        check(page, button, "accepting")


def test_the_word_that_was_painted_last_has_the_pixels(page: Page) -> None:
    labelled(page, "sky", "building")
    sky, building = masks(page)
    page.get_by_role("button", name="Correct building").click()
    page.check("[name=sign][value=brush]")

    stroke(page, (100, 60), (400, 60))

    settled(page)
    left, grown = masks(page)
    assert grown.sum() > building.sum() + 1000
    np.testing.assert_array_equal(left, sky & ~grown)
    assert (screen(page)[60, 100:400] == "building").all()
    page.keyboard.press("Control+z")
    settled(page)
    np.testing.assert_array_equal(masks(page), [sky, building])
    page.keyboard.press("Control+Shift+z")
    add(page, "tree")
    page.locator("#chips li").nth(2).wait_for()
    settled(page)
    again = masks(page)
    assert not (again[0] & grown).any()  # what the service finds again does not take it back
    np.testing.assert_array_equal(again[1], grown)


def test_objects_may_overlap_and_the_last_corrected_is_seen(page: Page) -> None:
    choose(page)
    page.check("[name=sign][value=brush]")
    page.fill("#radius", "30")
    stroke(page, (100, 100), (300, 100))
    page.press("#canvas", "n")
    stroke(page, (200, 200), (200, 20))
    settled(page)
    first, second = masks(page)
    page.get_by_role("button", name="Correct object 1").click()

    stroke(page, (120, 100), (280, 100))

    settled(page)
    top = page.evaluate(TOP, [100, 120, 280])
    assert (first & second).any()
    np.testing.assert_array_equal(masks(page)[1], second)
    assert top == [1] * 160
