"""A clip from disk plays, and its frames are asked about while it does."""

import base64
import re
from functools import cache

import httpx
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page

from tests import pictures
from tests.integration.playground.asking import UnderWay, add, choose, expect_result, segments, until
from tests.integration.playground.clips import ANSWERED, know_clip, webm
from tests.integration.playground.conftest import opened
from tests.integration.playground.expect import expect
from tests.integration.server import Server

RATE, SECONDS = 10, 8
SIZE = (320, 214)  # width and height, even as VP8 likes them
NEITHER = re.compile(r"^Not found: sky, flower\.")  # the model sees neither in that scene
PAINTED = "Number(document.getElementById('canvas').dataset.painted ?? 0)"

# How bright the middle of the canvas is after the next painting, and that of the frame of the answer.
LEVELS = """async () => {
    const canvas = document.getElementById("canvas");
    const level = (canvas) => canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];
    await new Promise((painted) => new MutationObserver(painted).observe(canvas, { attributes: true }));
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    return [level(canvas), level(state.frame.image)];
}"""


@cache
def clip() -> bytes:
    """The pagoda for one half of the time, a cat for the other."""
    scenes = [pictures.photograph(name).resize(SIZE) for name in ("china", "chelsea")]
    return webm((scenes[2 * index // (RATE * SECONDS)] for index in range(RATE * SECONDS)), SIZE, RATE)


@pytest.fixture
def page(page: Page) -> Page:
    """The video tab, with words."""
    page.get_by_role("radio", name="Video").check()
    add(page, "sky", "flower")
    return page


def play(page: Page, content: bytes | None = None, name: str = "walk.webm") -> None:
    know_clip(page)
    buffer = clip() if content is None else content
    page.set_input_files("#clip", {"name": name, "mimeType": "video/webm", "buffer": buffer})


def seek(page: Page, share: float) -> None:
    page.locator("#seek").fill(str(round(1000 * share)))


def pause(page: Page) -> None:
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_masks_come_while_it_plays_one_question_after_the_other(page: Page) -> None:
    under_way = UnderWay(page)
    play(page)

    expect(page.locator("#timings")).to_have_text(
        re.compile(r"tiny: [\d.]+ frames a second, \d+ ms each, [\d.]+ s behind")
    )
    until(page, f"{PAINTED} > 1")
    assert under_way.most == 1


def test_a_clip_is_asked_about_what_was_taught(page: Page, server: Server) -> None:
    picture = {
        "image": {"base64": base64.b64encode(pictures.encoded(pictures.small("china"))).decode()},
        "objects": [{"class": "gizmo", "box": [0, 0, 96, 20]}],
    }
    head = {"name": "of-a-clip", "classes": ["gizmo"], "pictures": [picture]}
    taught = httpx.post(f"{server.url}/v1/heads", json=head, timeout=60).raise_for_status().json()
    page.evaluate("async (head) => ((await import('/playground/page.js')).state.head = head)", taught)

    with page.expect_request(lambda request: f"of-a-clip@{taught['version']}" in (request.post_data or "")):
        play(page)

    expect(segments(page).filter(has_text="gizmo")).to_have_count(1)
    httpx.delete(f"{server.url}/v1/heads/of-a-clip").raise_for_status()


def test_masks_lie_over_the_frame_that_they_are_of(context: BrowserContext, page: Page) -> None:
    context.new_cdp_session(page).send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 500, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    play(page, webm((Image.new("RGB", SIZE, 3 * (4 * index,)) for index in range(60)), SIZE, RATE), "dawn.webm")
    until(page, f"{PAINTED} > 1")
    page.evaluate("document.getElementById('threshold').value = 1")  # nothing is painted over the frame

    seen, asked = page.evaluate(LEVELS)

    assert abs(seen - asked) <= 4  # half a second is twenty levels


def test_a_clip_that_stands_is_asked_about_other_words_and_places_and_becomes_a_picture(page: Page) -> None:
    play(page)
    pause(page)
    seek(page, 0.1)
    expect_result(page, "Found sky")
    page.get_by_role("button", name="without flower").click()
    add(page, "building")
    expect(segments(page)).to_have_count(2)
    expect_result(page, "Found sky, building")
    page.get_by_role("button", name="without building").click()
    add(page, "flower")
    expect(segments(page)).to_have_count(1)

    seek(page, 0.9)

    expect(page.locator("#result")).to_have_text(NEITHER)
    expect(page.locator("#time")).to_have_text(re.compile(r"7\.[0-9] of [78]\.[0-9] s"))
    page.get_by_role("button", name="Take this frame").click()
    expect(page.get_by_role("radio", name="Picture")).to_be_checked()
    expect_result(page, "Not found: sky, flower")
    page.locator("#canvas").click()
    expect_result(page, "Cut out 1 object")
    expect(segments(page)).to_have_count(1)


def test_what_stands_at_its_end_is_asked_about_once(page: Page) -> None:
    play(page)
    seek(page, 0.97)
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    until(page, ANSWERED)
    expect(page.locator("#timings")).to_contain_text(", 0.00 s behind")
    expect(page.locator("#result")).to_have_text(NEITHER)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/frames") else None)

    add(page, "toothbrush")

    expect_result(page, "toothbrush")
    assert len(asked) == 1


def test_words_are_found_where_frames_reach_another_gateway_than_their_stream_s(page: Page) -> None:
    nowhere = {"type": "unknown-stream", "detail": "no such stream is open here"}
    page.route("**/v1/streams/*/frames", lambda route: route.fulfill(status=404, json=nowhere))

    play(page)

    expect_result(page, "Found sky")


def test_tabs_turn_by_the_keyboard_and_keep_what_they_show(page: Page) -> None:
    page.get_by_role("radio", name="Video").press("ArrowLeft")
    expect(page.get_by_role("radio", name="Picture")).to_be_focused()
    choose(page)
    expect_result(page, "Found sky")
    page.get_by_role("radio", name="Picture").press("ArrowRight")
    expect(page.get_by_text("Drop a clip here")).to_be_visible()

    page.keyboard.press("ArrowRight")

    expect_result(page, "Found sky")


def test_an_example_plays_until_a_file_that_does_or_is_refused(server: Server, context: BrowserContext) -> None:
    page = opened(context, server.url)
    page.get_by_role("radio", name="Video").check()
    page.get_by_role("button", name="play an example").click()
    expect_result(page, "Found sky, building, trees.")
    expect(page.locator("#time")).to_have_text("live")
    page.get_by_role("button", name="New picture or clip").click()

    play(page)

    expect(page.locator("#time")).to_contain_text(" of ")
    expect(page.locator("#chips li")).to_have_count(0)
    play(page, b"no film", "notes.webm")
    expect_result(page, "notes.webm is not a video")
