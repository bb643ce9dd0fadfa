"""What a click or a box shows in a clip is followed through it, said to be lost when it is, and exported."""

import io
import json
import zipfile
from functools import cache
from typing import Any

import av
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import BrowserContext, Locator, Page

from tests import pictures
from tests.integration.playground.asking import add, drag, expect_result, place, rewrite, segments, unpacked, until
from tests.integration.playground.clips import ANSWERED, know_clip, webm
from tests.integration.playground.expect import expect

RATE, FRAMES = 10, 60
SIZE = (320, 240)  # width and height
HERE = 36  # of the frames that show the ball
RADIUS = 30


def ball(index: int) -> tuple[int, int]:
    """Where its middle is."""
    return 60 + 5 * index, 150


@cache
def clip(n_frames: int = FRAMES) -> bytes:
    """A red ball that rolls over a meadow, and out of the picture if there are frames enough."""
    meadow = pictures.photograph("flower").resize((32, 24)).resize(SIZE).point(lambda level: level // 2)
    return webm((drawn(meadow, index) for index in range(n_frames)), SIZE, RATE)


def drawn(meadow: Image.Image, index: int) -> Image.Image:
    shown = meadow.copy()
    if index < HERE:
        x, y = ball(index)
        ImageDraw.Draw(shown).ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=(230, 40, 30))
    return shown


def play(page: Page, n_frames: int = FRAMES) -> None:
    """The clip, standing at its first frame."""
    page.get_by_role("radio", name="Video").check()
    know_clip(page)
    page.set_input_files("#clip", {"name": "ball.webm", "mimeType": "video/webm", "buffer": clip(n_frames)})
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    seek(page, 0)
    until(page, "!clip.seeking")


def seek(page: Page, index: int) -> None:
    page.locator("#seek").fill(at(index))


def at(index: int, n_frames: int = FRAMES) -> str:
    """The place of a frame's middle on the seeking bar."""
    return str(round(1000 * (index + 0.5) / n_frames))


def show(page: Page, index: int) -> None:
    """Draw a box around the ball."""
    x, y = ball(index)
    drag(page, (x - RADIUS, y - RADIUS), (x + RADIUS, y + RADIUS), SIZE[::-1])


def follow(page: Page, n_frames: int = FRAMES) -> None:
    """Play the clip, and show the ball in its first frame."""
    play(page, n_frames)
    show(page, 0)
    expect_result(page, "Following object 1.")


def objects(page: Page) -> Locator:
    return page.locator("#objects li")


def asked(page: Page, index: int) -> dict[str, Any]:
    """The answer about a frame."""
    with page.expect_response(lambda answer: answer.url.endswith("/frames")) as heard:
        seek(page, index)
    content: dict[str, Any] = heard.value.json()
    return content


def test_a_box_is_followed_is_lost_and_is_stopped(page: Page) -> None:
    follow(page)
    expect(objects(page)).to_have_text(["object 1Stop"])

    for index in (2, 4, 6, 8):
        (segment,) = asked(page, index)["segments"]
        left, _, width, _ = segment["bbox"]
        assert segment["track_id"] == 1
        assert abs(left + width / 2 - ball(index)[0]) < RADIUS * 2 / 3
    expect(segments(page)).to_contain_text(["object 1"])

    for index in range(HERE + 2, HERE + 10, 2):
        asked(page, index)
    expect_result(page, "Lost: object 1.")
    expect(objects(page)).to_have_text(["object 1: lostStop"])

    page.get_by_role("button", name="Stop following object 1").click()

    expect(objects(page)).to_have_count(0)
    expect_result(page, "Type a word")


def test_words_name_what_is_followed(page: Page) -> None:
    follow(page)
    page.locator("#more summary").click()
    with page.expect_response(lambda answer: answer.url.endswith("/frames")):
        page.uncheck("#background")  # each object has a label

    with page.expect_request(lambda request: request.method == "PUT") as heard:
        add(page, "ball")

    assert "/streams/" in heard.value.url
    assert json.loads(heard.value.post_data or "{}") == {"model": "tiny", "classes": ["ball"], "background": False}
    expect_result(page, "Following ball 1.")
    expect(objects(page)).to_have_text(["ball 1Stop"])
    expect(segments(page)).to_contain_text(["ball 1"])
    with page.expect_request(lambda request: "/streams/" in request.url) as heard:
        page.locator("#chips button").click()

    assert (heard.value.method, heard.value.post_data) == ("PUT", '{"model":"tiny"}')
    expect_result(page, "Following object 1.")


def test_masks_of_words_stay_while_an_object_is_followed_and_after_it_is_lost(page: Page) -> None:
    play(page)
    page.locator("#more summary").click()
    page.uncheck("#background")  # so that the word is found
    add(page, "meadow")
    expect_result(page, "Found meadow.")

    show(page, 0)

    expect_result(page, "Following meadow 1. Found meadow.")
    expect(segments(page)).to_contain_text(["meadow", "meadow 1"])
    for index in range(HERE + 2, HERE + 10, 2):
        asked(page, index)
    expect_result(page, "Lost: meadow 1. Found meadow.")
    expect(segments(page)).to_contain_text(["meadow"])


# Seeks, and clicks on the ball once the clip draws it at the new place, which is before that frame is seen.
CLICK_TOO_EARLY = """async ([value, [column, row], ...places]) => {
    const context = new OffscreenCanvas(clip.width, clip.height).getContext("2d", { willReadFrequently: true });
    const isDrawn = () => {
        context.drawImage(clip, 0, 0, clip.width, clip.height);
        const [red, green] = context.getImageData(column, row, 1, 1).data;
        return red > 150 && green < 100;
    };
    let isSeen = false;
    clip.requestVideoFrameCallback(() => (isSeen = true));
    document.getElementById("seek").value = value;
    document.getElementById("seek").dispatchEvent(new Event("input"));
    const { port1, port2 } = new MessageChannel();
    while (!isDrawn() && !isSeen) {
        await new Promise((next) => {
            port1.onmessage = next;
            port2.postMessage(null);
        });
    }
    const [clientX, clientY] = places[Number(isSeen)];
    const canvas = document.getElementById("canvas");
    canvas.setPointerCapture = () => null; // of a pointer that there is none of
    for (const name of ["pointerdown", "pointerup"])
        canvas.dispatchEvent(new PointerEvent(name, { clientX, clientY, pointerId: 1 }));
}"""


def test_what_is_shown_on_the_way_to_another_place_is_looked_for_there(page: Page) -> None:
    play(page, FILM_FRAMES)

    places = [place(page, *ball(index), SIZE[::-1]) for index in (0, 8)]
    page.evaluate(CLICK_TOO_EARLY, [at(8, FILM_FRAMES), ball(8), *places])

    until(page, ANSWERED)
    left, _, width, _ = page.evaluate(
        "import('/playground/page.js').then((page) => page.state.answer.segments[0].bbox)"
    )
    assert abs(left + width / 2 - ball(8)[0]) < RADIUS / 2


# Seeks, until the frame there is seen.
SHOW_FRAME = """(place) => new Promise((seen) => {
    clip.requestVideoFrameCallback(seen);
    document.getElementById("seek").value = place;
    document.getElementById("seek").dispatchEvent(new Event("input"));
})"""


def test_a_clip_that_plays_is_followed_to_its_end(context: BrowserContext, page: Page) -> None:
    # answers take longer than a frame of the clip, however fast the machine
    context.new_cdp_session(page).send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 200, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    play(page)
    expect(page.locator("#pace")).to_contain_text("A followed clip plays at 0.3 to 0.4 (on two cores) of its speed.")
    page.evaluate(SHOW_FRAME, at(HERE - 8))  # the rest is long enough
    page.mouse.click(*place(page, *ball(HERE - 8), SIZE[::-1]))
    expect_result(page, "Following object 1.")
    expect(page.locator("#pace")).to_contain_text("A followed clip plays at about ")

    page.get_by_role("button", name="Play").click()

    expect_result(page, "Lost: object 1.")
    expect(page.locator("#timings")).to_contain_text("s behind")
    until(page, f"clip.ended && {ANSWERED}")
    page.get_by_role("button", name="Export clip").click()  # from here on there is nothing
    expect_result(page, "The clip is at its end.")


def test_an_object_is_added_by_the_keyboard_and_another_stopped(page: Page) -> None:
    follow(page)

    page.locator("#canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect_result(page, "Following object 1, object 2.")
    with page.expect_request(lambda request: request.url.endswith("/frames")) as heard:
        page.get_by_role("button", name="Stop following object 1").press("Enter")

    assert json.loads(heard.value.post_data or "{}")["unfollow"] == [1]
    expect_result(page, "Following object 2.")
    expect(page.locator("#canvas")).to_be_focused()
    page.keyboard.press("Backspace")
    expect(objects(page)).to_have_count(0)


def test_a_stream_begins_anew_where_its_objects_were_once_it_expired_or_its_worker_went(page: Page) -> None:
    follow(page)
    asked(page, 2)
    page.evaluate(
        "fetch(performance.getEntriesByType('resource').map((one) => one.name).findLast((name) =>"
        " name.endsWith('/frames')).slice(0, -7), {method: 'DELETE'})"
    )
    with page.expect_response(lambda answer: answer.url.endswith("/frames") and answer.ok):
        seek(page, 4)
    expect_result(page, "Following object 1.")
    expect(objects(page)).to_have_text(["object 1Stop"])
    until(page, ANSWERED)

    rewrite(page, "**/frames", lambda answer: answer | {"segments": [], "state_reset": True}, times=1)
    asked(page, 6)

    until(page, ANSWERED)
    expect_result(page, "Following object 1.")
    (segment,) = asked(page, 8)["segments"]
    assert segment["track_id"] == 1


def test_kept_frames_are_pictures_of_the_project_with_track_ids(page: Page) -> None:
    play(page)
    page.check("#record")
    show(page, 0)
    expect_result(page, "Following")
    page.get_by_role("button", name="Play").click()
    until(page, "document.querySelectorAll('#strip li').length > 2")
    page.uncheck("#record")
    page.evaluate("document.getElementById('many').open = true")

    coco = json.loads(unpacked(page, "#export-project")["annotations/instances_default.json"])

    assert {one["track_id"] for one in coco["annotations"]} == {1}
    assert len({one["image_id"] for one in coco["annotations"]}) > 1
    assert all(one["file_name"].startswith("ball-") for one in coco["images"])


# A clip with its masks becomes a film, COCO with track ids, and label maps.
EXPORTED = 2  # frames a second
FILM_FRAMES = 20  # of the clip: a film takes as long as it plays
COUNT = EXPORTED * FILM_FRAMES // RATE


def export(page: Page, film: str = "the film") -> zipfile.ZipFile:
    page.select_option("#rate", str(EXPORTED))
    with page.expect_download() as download:
        page.get_by_role("button", name="Export clip").click()
    expect_result(page, f"Saved {COUNT} frames: {film}, COCO with track ids, and label maps.")
    expect(page.get_by_role("button", name="Export clip")).to_be_visible()
    return zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))


def tracks(archive: zipfile.ZipFile) -> set[tuple[str, int]]:
    """Names and track ids of all segments of all frames, none without."""
    coco = json.loads(archive.read("annotations/instances_default.json"))
    assert len(coco["images"]) == COUNT
    names = {one["id"]: one["name"] for one in coco["categories"]}
    return {(names[one["category_id"]], one["track_id"]) for one in coco["annotations"]}


def test_an_object_that_is_followed_is_exported_with_its_number_and_the_clip_s_times(page: Page) -> None:
    follow(page, FILM_FRAMES)
    page.select_option("#side", "320")
    expect_result(page, "Type a word")  # objects are in pixels of the old size
    show(page, 0)
    expect_result(page, "Following object 1.")

    archive = export(page)

    assert tracks(archive) == {("object", 1)}
    (name,) = (each for each in archive.namelist() if "/" not in each)
    with av.open(io.BytesIO(archive.read(name)), "r") as film:
        frames = list(film.decode(video=0))
    assert len(frames) == COUNT
    assert (frames[0].width, frames[0].height) == SIZE
    assert float((frames[-1].time or 0) - (frames[0].time or 0)) * EXPORTED == pytest.approx(COUNT - 1, abs=0.5)
    assert len([each for each in archive.namelist() if each.startswith("label-maps/ball-")]) == COUNT


def test_what_words_find_keeps_its_number_in_a_film_of_a_browser_that_writes_no_mp4(page: Page) -> None:
    play(page, FILM_FRAMES)
    page.evaluate("document.getElementById('more').open = true")
    page.uncheck("#background")
    add(page, "meadow")
    until(page, ANSWERED)
    page.evaluate("""() => {
        const supported = MediaRecorder.isTypeSupported.bind(MediaRecorder);
        MediaRecorder.isTypeSupported = (kind) => !kind.includes("mp4") && supported(kind);
    }""")

    archive = export(page, "the film (WebM: this browser writes no MP4)")

    assert tracks(archive) == {("meadow", 1)}
    (name,) = (each for each in archive.namelist() if "/" not in each)
    with av.open(io.BytesIO(archive.read(name)), "r") as film:
        assert (film.format.name, len(list(film.decode(video=0)))) == ("matroska,webm", COUNT)
