"""Writes docs/pictures/playground.png: the page of a server of its own, in Chromium, with the photograph to try.

`python -m docs.write_playground` in a checkout; Chromium as tests/integration/playground needs it.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests import chromium
from tests.integration.server import Server

PICTURES = Path(__file__).with_name("pictures")
SIZE = {"width": 1200, "height": 640}
COLOURS = 224
PATIENCE = 120_000.0  # milliseconds


def taken(url: str) -> Image.Image:
    """The page after its photograph has been painted."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.path(), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        page.locator("body[data-ready]").wait_for()
        page.click("#sample")
        expect(page.locator("#result")).to_have_text("Found sky, building, trees.", timeout=PATIENCE)
        page.locator("#canvas[data-painted]").wait_for()
        page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        shot = page.screenshot()
        browser.close()
    return Image.open(io.BytesIO(shot)).convert("RGB")


def main(folder: Path = PICTURES) -> None:
    with tempfile.TemporaryDirectory() as logs, Server(Path(logs) / "log.jsonl") as server:
        taken(server.url).quantize(COLOURS).save(folder / "playground.png", optimize=True)


if __name__ == "__main__":
    main()
