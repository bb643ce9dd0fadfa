"""Video on a page without a service: frames are averaged and objects numbered as by the service's stream."""

import base64
import re
from collections.abc import Iterator
from functools import partial
from itertools import count, pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from lexiseg_client import Client
from lexiseg_model.types import DEFAULT_SMOOTHING
from tests import chromium, coco, pictures
from tests.http_server import QuietFiles, serving
from tests.integration.playground.asking import add, segments, until
from tests.integration.playground.clips import know_clip, webm
from tests.integration.playground.conftest import PATIENCE, opened
from tests.integration.server import Server

pytestmark = pytest.mark.slow

SIZE = (480, 320)  # width and height
FRAMES = 5
LARGE = 2000  # pixels of a segment
STEP = 6  # pixels that the camera moves from frame to frame
WORDS = ["sky", "building", "tree"]
FRAME = """async ([content, question, scene]) => {
    const engine = await import(new URL("playground/engine/browser.js", location.href).href);
    const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
    return engine.frame({ id: null, file: new Blob([bytes], { type: "image/png" }), scene }, question);
}"""


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with chromium.started(playwright, chromium.WHOLE) as browser:
        yield browser


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    with serving(partial(QuietFiles, directory=str(folder))) as url:
        yield f"{url}/site/"


@pytest.fixture
def page(context: BrowserContext, site: str) -> Page:
    return opened(context, site)


class Engine:
    """The engine of a page, and numbers of scenes that it has not seen."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.scenes = count(1)

    def answers(self, task: str, scenes: Iterator[int]) -> list[dict[str, Any]]:
        """To each of the `frames()`; frames of one scene are averaged."""
        question = {"classes": WORDS, "task": task}
        contents = [base64.b64encode(frame).decode() for frame in frames()]
        return [self._page.evaluate(FRAME, [*each]) for each in zip(contents, repeat(question), scenes, strict=False)]


@pytest.fixture(scope="module")
def engine(browser: Browser, site: str) -> Iterator[Engine]:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    yield Engine(opened(context, site))
    context.close()


Steady = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def steady(engine: Engine) -> Steady:
    """Answers to a clip, by task."""
    return {task: engine.answers(task, repeat(next(engine.scenes))) for task in ("semantic", "instance")}


def frames() -> list[bytes]:
    """A noisy camera that moves over the photograph of the pagoda."""
    noise = np.random.default_rng(0)
    whole = np.asarray(pictures.photograph("china"), np.float64)
    parts = [whole[20 : 20 + SIZE[1], STEP * index : STEP * index + SIZE[0]] for index in range(FRAMES)]
    noisy = [part + noise.normal(0, 6, part.shape) for part in parts]
    return [pictures.encoded(Image.fromarray(part.clip(0, 255).astype(np.uint8)), "PNG") for part in noisy]


def labels(segments: list[Any], size: tuple[int, int] = SIZE[::-1]) -> NDArray[np.int64]:
    """[H, W]: the class of each pixel, from 1; 0 for nobody. Segments of an answer as JSON."""
    classes = np.zeros(size, np.int64)
    for segment in segments:
        classes[coco.decode(segment["mask"])] = segment["class_index"] + 1
    return classes


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_frames_are_averaged_and_numbered_as_by_the_services_stream(steady: Steady, server: Server, task: Any) -> None:
    with Client(f"grpc://{server.grpc}") as client:
        options: dict[str, Any] = {"task": task, "smoothing": DEFAULT_SMOOTHING, "tracking": True}
        there = list(client.stream(frames(), WORDS, **options))
    for one, other in zip(steady[task], there, strict=True):
        masks = [{"class_index": each.class_index, "mask": each.rle} for each in other.segments]
        assert (labels(one["segments"]) == labels(masks)).mean() >= 0.99
        large = [(each["label"], each["track_id"]) for each in one["segments"] if each["area"] > LARGE]
        assert large == [(each.label, each.track_id) for each in other.segments if each.area > LARGE]


def test_labels_flicker_less_than_those_of_single_frames(engine: Engine, steady: Steady) -> None:
    def flicker(answers: list[dict[str, Any]]) -> float:
        """The share of pixels whose label differs from that of the same place of the frame before."""
        maps = [labels(answer["segments"]) for answer in answers]
        return float(np.mean([(before[:, STEP:] != now[:, :-STEP]).mean() for before, now in pairwise(maps)]))

    assert flicker(steady["semantic"]) < 0.6 * flicker(engine.answers("semantic", engine.scenes))


def test_a_clip_plays_under_its_masks_with_speed_and_numbers(page: Page) -> None:
    page.get_by_role("radio", name="Video").check()
    page.get_by_text("objects", exact=True).click()
    add(page, "building")
    clip = webm((pictures.photograph("china").resize((320, 214)) for _ in range(40)), (320, 214), 10)

    page.set_input_files("#clip", {"name": "walk.webm", "mimeType": "video/webm", "buffer": clip})

    expect(page.locator("#timings")).to_have_text(
        re.compile(r"tiny@1: [\d.]+ frames a second, \d+ ms each, [\d.]+ s behind")
    )
    expect(segments(page).first).to_contain_text("building 1")
    page.locator("#canvas").click()
    expect(page.locator("#note")).to_have_text(
        "Only a service follows objects: take this frame, and click on it there."
    )


def test_a_camera_is_segmented_live_and_let_go(context: BrowserContext, page: Page) -> None:
    context.grant_permissions(["camera"])
    page.get_by_role("radio", name="Video").check()
    add(page, "clock")
    know_clip(page)

    page.click("#film")

    expect(page.locator("#time")).to_have_text("live")
    expect(page.locator("#timings")).to_contain_text("frames a second")
    expect(page.locator("#seek")).to_be_hidden()
    page.get_by_role("radio", name="Picture").check()
    until(page, "window.clip.srcObject === null")
    page.get_by_role("radio", name="Video").check()
    expect(page.get_by_text("Drop a clip here")).to_be_visible()
