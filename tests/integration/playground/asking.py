"""What a visitor does on the playground."""

from __future__ import annotations

from typing import Any

import httpx
from playwright.sync_api import Locator, Page, Request, expect

from tests import pictures
from tests.integration.playground.conftest import PATIENCE

CHINA = pictures.encoded(pictures.photograph("china"), "JPEG")
SIZE = (427, 640)


def asked_directly(url: str, *words: str) -> list[dict[str, Any]]:
    """The segments of the photograph, without a page."""
    files = {"image": ("china.jpg", CHINA)}
    answer = httpx.post(f"{url}/v1/segment", data={"classes": words}, files=files, timeout=60).raise_for_status()
    segments: list[dict[str, Any]] = answer.json()["segments"]
    return segments


def choose(page: Page, content: bytes = CHINA, name: str = "china.jpg") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/jpeg", "buffer": content})


def add(page: Page, *words: str) -> None:
    for word in words:
        page.fill("#word", word)
        page.press("#word", "Enter")


class UnderWay:
    """How many questions were on their way at once, at most."""

    def __init__(self, page: Page) -> None:
        self.most = 0
        self._now: set[Request] = set()
        page.on("request", self._goes)
        page.on("requestfinished", self._came)
        page.on("requestfailed", self._came)

    def _goes(self, request: Request) -> None:
        if request.url.endswith("/v1/segment"):
            self._now.add(request)
            self.most = max(self.most, len(self._now))

    def _came(self, request: Request) -> None:
        self._now.discard(request)


def expect_result(page: Page, text: str) -> None:
    expect(page.locator("#result")).to_contain_text(text, timeout=PATIENCE)


def segments(page: Page) -> Locator:
    return page.locator("#segments li")


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where on the page a pixel of the photograph lies, as long as nobody has zoomed."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    zoom = min(box["width"] / SIZE[1], box["height"] / SIZE[0])
    left = box["x"] + (box["width"] - SIZE[1] * zoom) / 2
    top = box["y"] + (box["height"] - SIZE[0] * zoom) / 2
    return left + x * zoom, top + y * zoom
