"""The code of docs/javascript.md in a browser, beside a real server."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import sync_playwright

from tests import chromium, pictures
from tests.documents.reading import blocks
from tests.integration.server import Server

TRY = """async ([url, photograph]) => {
  const bytes = Uint8Array.from(atob(photograph), (letter) => letter.charCodeAt(0));
  const { image_id, segments } = await segment(new Blob([bytes]), ["sky", "trees"], { url });
  const clicked = await click(image_id, 20, 20, { url });
  paint(document.createElement("canvas"), segments[0]);
  return [...segments, ...clicked.segments].map(({ area, mask }) =>
    [area, decodeRle(mask).reduce((sum, inside) => sum + inside)]);
}"""


@pytest.mark.slow
def test_the_code_sends_a_photograph_and_decodes_its_masks(document_server: Server) -> None:
    code = "\n".join(block.text for block in blocks("docs/javascript.md", "js") if "export " in block.text)
    code = code.replace("export ", "")
    photograph = base64.b64encode(pictures.file("china.jpg")).decode()
    with sync_playwright() as playwright, chromium.started(playwright) as browser:
        page = browser.new_page()
        page.goto(document_server.url)
        areas = page.evaluate(
            f"async (given) => {{ {code}\nreturn ({TRY})(given); }}", [document_server.url, photograph]
        )

    assert len(areas) > 2
    assert all(area == decoded for area, decoded in areas)
