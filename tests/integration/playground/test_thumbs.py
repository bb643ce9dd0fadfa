"""What visitors say of segments becomes thresholds, which a vocabulary keeps."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.integration.playground.asking import add, choose, expect_result, segments
from tests.integration.server import Server


def kept(server: Server, name: str) -> dict[str, Any]:
    """The classes of a vocabulary, by name."""
    answer = httpx.get(f"{server.url}/v1/vocabularies/{name}", timeout=60).raise_for_status()
    return {entry["name"]: entry for entry in answer.json()["classes"]}


def score(page: Page, name: str) -> float:
    line = segments(page).filter(has_text=name).locator(".share").text_content()
    assert line is not None
    return float(line.split()[0])


def say(page: Page, what: str) -> None:
    page.get_by_role("button", name=what, exact=True).click()


def keep_as(page: Page, name: str) -> None:
    page.get_by_label("Save them in a vocabulary named").fill(name)
    page.get_by_role("button", name="Save", exact=True).click()


@pytest.mark.parametrize(
    ("marks", "threshold", "agree"),
    [
        ([(0.9, True), (0.5, False), (0.8, True)], 0.65, 3),
        ([(0.9, True), (0.8, True)], None, 2),
        ([(0.4, False), (0.6, False)], 0.61, 2),
        ([(0.3, True), (0.5, False), (0.9, True)], None, 2),
        ([(0.2, False), (0.3, True), (0.4, False), (0.9, True), (0.8, True)], 0.25, 4),
    ],
)
def test_a_threshold_makes_the_most_marks_come_true(
    page: Page, marks: list[tuple[float, bool]], threshold: float | None, agree: int
) -> None:
    proposed = page.evaluate(
        "async (marks) => (await import('/playground/marks.js')).propose(marks)",
        [{"score": value, "right": right} for value, right in marks],
    )

    assert (proposed["threshold"], proposed["agree"]) == (threshold, agree)


def test_a_segment_that_is_wrong_is_dropped_and_the_threshold_kept(page: Page, server: Server) -> None:
    choose(page)
    add(page, "sky", "building")
    expect_result(page, "Found sky, building")
    wrong = score(page, "building")
    say(page, "right: sky")
    say(page, "wrong: building")
    proposals = page.locator("#proposals li")
    expect(proposals.first).to_have_text("sky no threshold does better 1 right, 0 wrong; 1 of 1 as marked")
    expect(proposals.last).to_contain_text(f"building at least {wrong + 0.01:.2f} 0 right, 1 wrong")

    page.get_by_role("button", name="Apply").click()
    expect_result(page, "Not found: building")
    keep_as(page, "seen-from-the-page")
    expect(page.locator("#kept")).to_have_text("Saved as seen-from-the-page.")

    entries = kept(server, "seen-from-the-page")
    assert entries["sky"]["threshold"] is None
    assert entries["building"]["threshold"] == pytest.approx(wrong + 0.01, abs=0.0051)  # the page shows hundredths
    assert page.input_value("#vocabulary") == "seen-from-the-page"
    expect_result(page, "Not found: building")


def test_a_mark_is_taken_back_by_its_button(page: Page) -> None:
    choose(page)
    add(page, "sky")
    expect_result(page, "Found sky")
    say(page, "wrong: sky")
    expect(page.get_by_role("button", name="wrong: sky")).to_have_attribute("aria-pressed", "true")
    say(page, "right: sky")
    expect(page.get_by_role("button", name="wrong: sky")).to_have_attribute("aria-pressed", "false")

    say(page, "right: sky")

    expect(page.locator("#calibration")).to_be_hidden()


def test_a_named_list_gets_them_and_keeps_all_else(page: Page, server: Server) -> None:
    sent = {"classes": ["sky", {"name": "house", "synonyms": ["building"], "threshold": 0.1}], "source": "a walk"}
    httpx.put(f"{server.url}/v1/vocabularies/walk", json=sent, timeout=60).raise_for_status()
    page.reload()
    page.locator("body[data-ready]").wait_for()
    choose(page)
    page.locator("#more summary").click()
    page.select_option("#vocabulary", "walk")
    expect_result(page, "Found sky")

    say(page, "wrong: sky")
    keep_as(page, "walk")

    expect_result(page, "Not found: sky")
    entries = kept(server, "walk")
    assert entries["sky"]["threshold"] > 0.1
    assert (entries["house"]["synonyms"], entries["house"]["threshold"]) == (["building"], 0.1)


def test_another_list_of_that_name_is_not_overruled(page: Page, server: Server) -> None:
    httpx.put(f"{server.url}/v1/vocabularies/taken", json={"classes": ["cloud"]}, timeout=60).raise_for_status()
    choose(page)
    add(page, "sky")
    expect_result(page, "Found sky")

    say(page, "wrong: sky")
    keep_as(page, "taken")

    expect_result(page, "There is a vocabulary taken already")
    assert list(kept(server, "taken")) == ["cloud"]
