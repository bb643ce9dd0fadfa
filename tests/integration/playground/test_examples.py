"""What a box shows becomes a class."""

import json
from typing import Any

from playwright.sync_api import Page, Request, expect

from tests import coco
from tests.integration.playground.asking import choose, drag, expect_result

PAGODA, SKY = (60, 120, 350, 390), (380, 5, 630, 200)


def cut_out(page: Page, box: tuple[int, int, int, int]) -> None:
    drag(page, box[:2], box[2:])
    expect_result(page, "Cut out 1 object")


def asked_for(request: Request) -> bool:
    """A question of classes alone."""
    return request.url.endswith("/v1/segment") and "prompts" not in (request.post_data or "prompts")


def class_of(request: Request) -> dict[str, Any]:
    (entry,) = json.loads(request.post_data or "")["classes"]
    assert isinstance(entry, dict)
    return entry


def test_a_box_becomes_a_class_and_another_what_it_is_not(page: Page) -> None:
    choose(page)
    cut_out(page, PAGODA)
    page.fill("#word", "our tower")
    with page.expect_request(asked_for) as shown:
        page.get_by_role("button", name="Use as an example").click()

    (example,) = class_of(shown.value)["examples"]
    assert [round(side / 4) for side in example["box"]] == [round(side / 4) for side in PAGODA]
    expect(page.locator("#chips li")).to_contain_text("our tower (1 example)")
    expect_result(page, "Found our tower")
    answer = shown.value.response()
    assert answer is not None
    (found,) = answer.json()["segments"]
    left, top, right, bottom = PAGODA
    assert coco.decode(found["mask"])[top:bottom, left:right].mean() > 0.3

    cut_out(page, SKY)
    with page.expect_request(asked_for) as turned:
        page.get_by_role("button", name="Use as a counter-example").click()

    entry = class_of(turned.value)
    assert entry["name"] == "our tower"
    assert (len(entry["examples"]), len(entry["negatives"])) == (1, 1)
    expect(page.locator("#chips li")).to_contain_text("our tower (1 example, 1 counter-example)")
    expect_result(page, "our tower")


def test_what_a_class_is_not_needs_what_it_is(page: Page) -> None:
    choose(page)
    cut_out(page, SKY)

    page.get_by_role("button", name="Use as a counter-example").click()

    expect_result(page, "First show what the class is")
    expect(page.locator("#chips li")).to_have_count(0)
