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
DESK: dict[str, Any] = {"viewport": {"width": 1400, "height": 820}}
DARK: dict[str, Any] = {"color_scheme": "dark"}


def nothing(_page: Page) -> None:
    """The first screen."""


def answered(page: Page) -> None:
    choose(page)
    add(page, "sky", "toothbrush")
    expect_result(page, "Found sky")


def cut_out_and_corrected(page: Page) -> None:
    answered(page)
    page.mouse.click(*place(page, 200, 290))
    expect_result(page, "Cut out 1 object")
    page.get_by_role("button", name="Correct sky").click()


def with_all_open(page: Page) -> None:
    answered(page)
    for name in ("more", "export"):
        page.locator(f"#{name} > summary").click()


def refused(page: Page) -> None:
    choose(page, b"no picture", "half.jpg")
    expect_result(page, "is not a picture")


def on_the_tab_of_clips(page: Page) -> None:
    page.get_by_role("radio", name="Video").check()


@pytest.mark.parametrize(
    ("options", "reach"),
    [
        pytest.param(DESK, nothing, id="first screen"),
        pytest.param(PHONE | DARK, nothing, id="first screen, phone, dark"),
        pytest.param(PHONE, answered, id="answer, phone"),
        pytest.param(DESK | DARK, cut_out_and_corrected, id="click and correction, dark"),
        pytest.param(DESK | DARK, with_all_open, id="menus and exports, dark"),
        pytest.param(PHONE, with_all_open, id="menus and exports, phone"),
        pytest.param(DESK | DARK, refused, id="error, dark"),
        pytest.param(DESK, on_the_tab_of_clips, id="video"),
    ],
)
def test_a_service_s_page(screen: Callable[..., Page], options: dict[str, Any], reach: Callable[[Page], None]) -> None:
    page = screen(**options)
    reach(page)

    assert violations(page) == []


def violations(page: Page) -> list[Any]:
    """Rules that a page violates, each with the elements that do."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make .venv/node/.done")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[Any] = page.evaluate(RUN)
    return found
