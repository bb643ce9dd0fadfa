"""axe-core finds nothing to object to, in the states that visitors meet."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.integration.playground.asking import add, choose, expect_result, place
from tests.integration.playground.conftest import PHONE

AXE = Path(sys.prefix) / "node/node_modules/axe-core/axe.min.js"  # requirements/node
RUN = "async () => (await axe.run()).violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)])"


def test_a_service_s_page_on_a_desk(screen: Callable[..., Page]) -> None:
    page = screen(viewport={"width": 1400, "height": 820})
    assert violations(page) == []
    page.get_by_role("radio", name="Video").check()
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    page.get_by_role("radio", name="Picture").check()
    choose(page, b"no picture", "half.jpg")
    expect_result(page, "is not a picture")
    assert violations(page) == []
    answered(page)
    page.mouse.click(*place(page, 200, 290))
    expect_result(page, "Cut out 1 object")
    page.get_by_role("button", name="Correct sky").click()
    assert violations(page) == []
    open_all(page)
    assert violations(page) == []


def test_a_service_s_page_on_a_phone(screen: Callable[..., Page]) -> None:
    page = screen(**PHONE, color_scheme="dark")
    assert violations(page) == []
    page.emulate_media(color_scheme="light")
    answered(page)
    assert violations(page) == []
    open_all(page)
    assert violations(page) == []


def answered(page: Page) -> None:
    choose(page)
    add(page, "sky", "toothbrush")
    expect_result(page, "Found sky")


def open_all(page: Page) -> None:
    for name in ("more", "export"):
        page.locator(f"#{name} > summary").click()


def violations(page: Page) -> list[Any]:
    """Rules that a page violates, each with the elements that do."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make .venv/node/.done")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[Any] = page.evaluate(RUN)
    return found
