"""Segments are refined, painted, named, merged, split and deleted; each step can be undone, to the pixel."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page, Route

from tests import coco
from tests.integration.playground.asking import SIZE, add, choose, drag, expect_result, place, segments, until_resolved
from tests.integration.playground.expect import expect

SEGMENTS = """async () => {
    const { state } = await import("/playground/page.js");
    return state.answer ? state.answer.segments.map(({ label, area, mask }) => ({ label, area, mask })) : [];
}"""

STEPS = """async () => (await import("/playground/page.js")).state.picture.past.length"""


def held(page: Page) -> list[dict[str, Any]]:
    """The segments that the page shows."""
    found: list[dict[str, Any]] = page.evaluate(SEGMENTS)
    return found


def masks(page: Page) -> list[NDArray[np.bool_]]:
    return [coco.decode(one["mask"]).astype(bool) for one in held(page)]


def labelled(page: Page, *words: str) -> list[dict[str, Any]]:
    choose(page)
    add(page, *words)
    expect(page.locator("#chips li")).to_have_count(len(words))
    expect(segments(page)).to_have_count(len(words))
    return held(page)


def stroke(page: Page, *points: tuple[float, float], button: str = "left") -> None:
    page.mouse.move(*place(page, *points[0]))
    page.mouse.down(button=button)  # type: ignore[arg-type]
    for point in points[1:]:
        page.mouse.move(*place(page, *point), steps=4)
    page.mouse.up(button=button)  # type: ignore[arg-type]


def steps(page: Page, times: int, key: str) -> None:
    for _ in range(times):
        page.keyboard.press(key)


def test_a_click_on_what_a_word_found_refines_it(page: Page) -> None:
    before = labelled(page, "sky", "building")
    inside = np.argwhere(cv2.erode(masks(page)[1].astype(np.uint8), np.ones((9, 9), np.uint8)))
    y, x = inside[len(inside) // 2]

    page.mouse.click(*place(page, x + 0.5, y + 0.5))

    expect(page.locator("#corrected")).to_have_text("building")
    expect(segments(page)).to_have_count(2)
    assert [one["label"] for one in held(page)] == ["sky", "building"]
    page.mouse.click(*place(page, 560, 330))  # what is missing of it
    until_resolved(page, f"async () => (await ({SEGMENTS})())[1].area > {before[1]['area']}")
    expect(segments(page)).to_have_count(2)


def test_objects_of_words_and_of_boxes_have_colours_of_their_own(page: Page) -> None:
    page.check("[name=task][value=instance]")
    labelled(page, "building")
    drag(page, (520, 200), (630, 420))
    expect_result(page, "Cut out 1 object")

    colours = [one.get_attribute("style") for one in page.locator("#segments .swatch").all()]

    assert len(set(colours)) == len(colours) == 2


def test_clicks_made_while_an_answer_is_on_its_way_all_count(page: Page) -> None:
    labelled(page, "sky", "building")
    page.get_by_role("button", name="Correct building").click()
    steps_before = page.evaluate(STEPS)
    places = ((560, 330), (100, 400), (620, 400))

    for x, y in places:
        page.mouse.click(*place(page, x, y))

    until_resolved(page, f"async () => (await ({STEPS})()) === {steps_before + 3}")
    mask = masks(page)[1]

    assert [bool(mask[y, x]) for x, y in places] == [True] * 3
    expect(segments(page)).to_have_count(2)


def test_a_chosen_segment_stays_chosen_when_an_answer_puts_another_in_its_place(page: Page) -> None:
    labelled(page, "trees", "building")
    late: list[Route] = []
    page.route(
        "**/v1/segment",
        lambda route: late.append(route) if b"sky" in (route.request.post_data_buffer or b"") else route.continue_(),
    )
    page.get_by_role("button", name="without trees").click()
    with page.expect_request(lambda request: b"sky" in (request.post_data_buffer or b"")):
        add(page, "sky")  # the second, as the building was
    page.get_by_role("button", name="Correct building").click()

    for route in late:
        route.continue_()

    expect_result(page, "sky")
    assert [one["label"] for one in held(page)] == ["building", "sky"]
    expect(page.locator("#corrected")).to_have_text("building")
    page.locator("#canvas").press("d")
    until_resolved(page, f"async () => (await ({SEGMENTS})()).map(({{ label }}) => label).join() === 'sky'")


def test_a_click_takes_pixels_of_the_word_that_it_is_on_and_gives_them_back_when_undone(page: Page) -> None:
    labelled(page, "sky", "building", "trees")
    before = sky, building, trees = masks(page)
    page.get_by_role("button", name="Correct building").click()

    page.mouse.click(*place(page, 320, 20))  # on the sky

    until_resolved(page, f"async () => (await ({SEGMENTS})())[1].area > {building.sum()}")
    less_sky, more_building, same_trees = masks(page)
    np.testing.assert_array_equal(same_trees, trees)
    np.testing.assert_array_equal(less_sky, sky & ~more_building)
    assert not (building & ~more_building).any()
    page.get_by_role("button", name="Undo").click()
    until_resolved(page, f"async () => (await ({SEGMENTS})())[1].area === {building.sum()}")
    np.testing.assert_array_equal(masks(page), before)


def test_a_brush_paints_a_round_line_and_an_eraser_takes_it_away(page: Page) -> None:
    choose(page)
    expect_result(page, "Type a word")
    page.check("[name=sign][value=brush]")
    page.fill("#radius", "20")
    radius = 20 / 1000 * SIZE[1]

    stroke(page, (100, 100), (300, 200))

    (mask,) = masks(page)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    share = np.clip(((x - 100) * 200 + (y - 100) * 100) / (200**2 + 100**2), 0, 1)
    away = np.hypot(x - 100 - 200 * share, y - 100 - 100 * share)
    assert mask[away < radius - 2].all()
    assert not mask[away > radius + 2].any()
    page.check("[name=sign][value=eraser]")
    stroke(page, (200, 110), (200, 190))
    assert masks(page)[0].sum() < mask.sum()
    stroke(page, (300, 200), button="right")  # the opposite
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    np.testing.assert_array_equal(masks(page)[0], mask)


def test_twenty_steps_are_undone_and_done_again_to_the_pixel(page: Page) -> None:
    before = labelled(page, "sky", "building")
    page.get_by_role("button", name="Correct building").click()
    page.check("[name=sign][value=brush]")
    page.focus("#canvas")
    seen = [before]
    for number in range(20):
        page.keyboard.press("ArrowRight" if number % 8 else "ArrowDown")
        page.keyboard.press("Enter" if number % 3 else "Shift+Enter")
        if number % 5 == 4:
            seen.append(held(page))
    after = held(page)
    assert after != before

    for there in reversed(seen):
        assert held(page) == there
        if there is not before:
            steps(page, 5, "Control+z")
    steps(page, 20, "Control+Shift+z")

    assert held(page) == after


def test_a_segment_is_named_merged_split_and_deleted(page: Page) -> None:
    sky, building = labelled(page, "sky", "building")
    page.get_by_role("button", name="Correct building").click()
    page.fill("#label", "pagoda")
    page.press("#label", "Enter")
    expect(segments(page).last).to_contain_text("pagoda")
    expect(page.locator("#canvas")).to_be_focused()

    page.keyboard.press("m")
    page.mouse.click(*place(page, 320, 20))
    expect(segments(page)).to_have_count(1)
    assert held(page)[0]["area"] == sky["area"] + building["area"]
    page.keyboard.press("Control+z")
    assert [one["area"] for one in held(page)] == [sky["area"], building["area"]]

    page.keyboard.press("1")
    assert [one["label"] for one in held(page)] == ["sky", "sky"]
    page.keyboard.press("Control+z")
    page.keyboard.press("d")
    assert [one["label"] for one in held(page)] == ["sky"]
    add(page, "tree")
    expect_result(page, "tree")
    assert [one["label"] for one in held(page)] == ["sky", "tree"]  # what was deleted stays away


def test_an_eraser_s_line_parts_a_segment_and_split_makes_two(page: Page) -> None:
    choose(page)
    expect_result(page, "Type a word")
    page.check("[name=sign][value=brush]")
    page.fill("#radius", "30")
    stroke(page, (100, 200), (500, 200))
    page.keyboard.press("s")
    expect_result(page, "This segment is one part")
    page.check("[name=sign][value=eraser]")
    stroke(page, (300, 150), (300, 250))
    (whole,) = masks(page)

    page.get_by_role("button", name="Split").click()

    expect(segments(page)).to_have_count(2)
    left, right = masks(page)
    assert not (left & right).any()
    np.testing.assert_array_equal(left | right, whole)


def test_undo_in_a_text_field_is_the_field_s_own_while_it_holds_text(page: Page) -> None:
    labelled(page, "sky")
    for text, chips in (("half a word", 1), ("", 0)):
        page.fill("#word", text)

        page.press("#word", "Control+z")

        expect(page.locator("#chips li")).to_have_count(chips)
