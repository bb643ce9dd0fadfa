"""A clip with its masks becomes a film, COCO with track ids, and label maps."""

import io
import json
import zipfile

import av
import pytest
from playwright.sync_api import Page, expect

from tests.integration.playground.asking import add, expect_result, until
from tests.integration.playground.clips import ANSWERED
from tests.integration.playground.test_following import RATE, SIZE, follow, play, show

EXPORTED = 2  # frames a second
FRAMES = 20  # of the clip: a film takes as long as it plays
COUNT = EXPORTED * FRAMES // RATE


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
    follow(page, FRAMES)
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


def test_what_words_find_keeps_its_number_through_a_clip(page: Page) -> None:
    play(page, FRAMES)
    page.evaluate("document.getElementById('more').open = true")
    page.uncheck("#background")
    add(page, "meadow")
    until(page, ANSWERED)

    assert tracks(export(page)) == {("meadow", 1)}


def test_a_browser_that_writes_no_mp4_writes_webm_and_says_so(page: Page) -> None:
    play(page, FRAMES)
    add(page, "meadow")
    page.evaluate("""() => {
        const supported = MediaRecorder.isTypeSupported.bind(MediaRecorder);
        MediaRecorder.isTypeSupported = (kind) => !kind.includes("mp4") && supported(kind);
    }""")

    archive = export(page, "the film (WebM: this browser writes no MP4)")

    (name,) = (each for each in archive.namelist() if "/" not in each)
    with av.open(io.BytesIO(archive.read(name)), "r") as film:
        assert (film.format.name, len(list(film.decode(video=0)))) == ("matroska,webm", COUNT)


def test_before_a_clip_is_followed_its_speed_is_told(page: Page) -> None:
    play(page, FRAMES)

    expect(page.locator("#pace")).to_contain_text("A followed clip plays at 0.3 to 0.4 (on two cores) of its speed.")
    show(page, 0)
    expect(page.locator("#pace")).to_contain_text("A followed clip plays at about ")
