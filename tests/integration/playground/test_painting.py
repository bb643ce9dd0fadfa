"""What the page makes of run lengths is what pycocotools makes of them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from playwright.sync_api import Page

from tests import coco
from tests.integration.playground.asking import SIZE, add, asked_directly, choose, expect_result
from tests.integration.server import Server


def test_a_cut_out_has_the_pixels_of_its_mask(page: Page, server: Server) -> None:
    choose(page)
    add(page, "sky")
    expect_result(page, "Found sky")
    page.locator("#canvas[data-painted]").wait_for()
    page.locator("#export summary").click()

    with page.expect_download() as download:
        page.click("#cutouts")

    cut = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())).convert("RGBA"))[..., 3] > 0
    (found,) = asked_directly(server.url, "sky")
    left, top, width, height = found["bbox"]
    whole = np.zeros(SIZE, bool)
    whole[top : top + height, left : left + width] = cut
    assert np.array_equal(whole, coco.decode(found["mask"]))
