"""The zip of an answer holds what is seen; that each format is the service's: tests/service/web/test_formats.py."""

import io
import json
import zipfile

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from tests import coco
from tests.integration.playground.asking import CHINA, add, asked_directly, choose, expect_result
from tests.integration.server import Server


@pytest.fixture(scope="module")
def masks(server: Server) -> list[NDArray[np.bool_]]:
    return [coco.decode(one["mask"]).astype(bool) for one in asked_directly(server.url, "sky", "tree")]


@pytest.fixture
def files(page: Page) -> dict[str, bytes]:
    """The zip of one answer, by names."""
    choose(page)
    add(page, "sky", "tree")
    expect_result(page, "Found sky, tree")
    page.locator("#export summary").click()
    with page.expect_download() as download:
        page.click("#zip")
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_zip_holds_the_picture_its_labels_and_its_masks(
    files: dict[str, bytes], masks: list[NDArray[np.bool_]]
) -> None:
    assert files["images/china.jpg"] == CHINA
    annotations = json.loads(files["annotations/instances_default.json"])["annotations"]
    assert [one["area"] for one in annotations] == [mask.sum() for mask in masks]
    labels = np.asarray(Image.open(io.BytesIO(files["label-maps/china.png"])))
    np.testing.assert_array_equal(labels, masks[0] + 2 * (masks[1] & ~masks[0]))
    for name, mask in zip(("sky", "tree"), masks, strict=True):
        drawn = np.asarray(Image.open(io.BytesIO(files[f"masks/china-{name}-mask.png"]))) == 255
        np.testing.assert_array_equal(drawn, mask)
