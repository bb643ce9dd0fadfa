"""Exports for annotation tools hold the pixels of the masks."""

import io
import json
import zipfile
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from tests import coco
from tests.integration.playground.asking import CHINA, SIZE, add, asked_directly, choose, expect_result, place
from tests.integration.server import Server

VOC_RED, VOC_GREEN = (128, 0, 0), (0, 128, 0)  # the first colours of its palette


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


def area(loop: NDArray[np.float64]) -> float:
    """Of a loop [N, 2] of corners, with holes taken away."""
    x, y = loop.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def test_the_zip_holds_every_format(files: dict[str, bytes], masks: list[NDArray[np.bool_]]) -> None:
    height, width = SIZE
    areas = [mask.sum() for mask in masks]

    assert files["images/china.jpg"] == CHINA
    assert b'0: "sky"\n  1: "tree"' in files["data.yaml"]
    annotations = json.loads(files["annotations/instances_default.json"])["annotations"]
    assert [one["area"] for one in annotations] == areas
    lines = [
        np.array(line.split()[1:], float).reshape(-1, 2) for line in files["labels/china.txt"].decode().splitlines()
    ]
    assert [area(loop * (width, height)) for loop in lines] == pytest.approx(areas, abs=1)
    studio: list[dict[str, Any]] = json.loads(files["label-studio.json"])[0]["predictions"][0]["result"]
    loops = [np.array(one["value"]["points"]) * (width / 100, height / 100) for one in studio]
    assert [area(loop) for loop in loops] == pytest.approx(areas, abs=1)
    features = json.loads(files["geojson/china.geojson"])["features"]
    rings = [[np.array(ring) for part in one["geometry"]["coordinates"] for ring in part] for one in features]
    assert [sum(map(area, each)) for each in rings] == pytest.approx(areas)
    for name, mask in zip(("sky", "tree"), masks, strict=True):
        drawn = np.asarray(Image.open(io.BytesIO(files[f"masks/china-{name}-mask.png"])).convert("L")) == 255
        np.testing.assert_array_equal(drawn, mask)


def test_parts_of_an_object_are_joined_where_they_are_near(page: Page) -> None:
    choose(page)
    expect_result(page, "Type a word")
    page.check("[name=sign][value=brush]")
    for x, radius in ((100, 20), (300, 15), (500, 10)):  # the largest is the first
        page.fill("#radius", str(radius))
        page.mouse.click(*place(page, x, 200))
    page.locator("#export summary").click()

    with page.expect_download() as download:
        page.click("#yolo")

    loop = np.array(download.value.path().read_text().split()[1:], float).reshape(-1, 2) * SIZE[::-1]
    longest = np.hypot(*np.diff(loop, axis=0).T).max()
    assert 150 < longest < 200  # from one part to the next, not to the first


def test_cvat_s_run_lengths_are_the_masks(files: dict[str, bytes], masks: list[NDArray[np.bool_]]) -> None:
    found = ElementTree.fromstring(files["cvat.xml"]).findall("image/mask")

    for one, mask in zip(found, masks, strict=True):
        left, top, across, down = (int(one.attrib[key]) for key in ("left", "top", "width", "height"))
        runs = [int(run) for run in one.attrib["rle"].split(",")]
        values = np.arange(len(runs)) % 2 == 1
        whole = np.zeros(SIZE, bool)
        whole[top : top + down, left : left + across] = np.repeat(values, runs).reshape(down, across)
        np.testing.assert_array_equal(whole, mask)


def test_label_maps_hold_the_number_of_each_pixel_s_class_in_the_colours_of_voc(
    files: dict[str, bytes], masks: list[NDArray[np.bool_]]
) -> None:
    classes = json.loads(files["label-maps/classes.json"])
    labels = Image.open(io.BytesIO(files["label-maps/china.png"]))

    assert classes == ["background", "sky", "tree"]
    np.testing.assert_array_equal(np.asarray(labels), masks[0] + 2 * (masks[1] & ~masks[0]))
    assert files["voc/SegmentationClass/china.png"] == files["label-maps/china.png"]
    assert files["voc/labelmap.txt"].decode().splitlines()[1:] == [
        "background:0,0,0::",
        f"sky:{','.join(map(str, VOC_RED))}::",
        f"tree:{','.join(map(str, VOC_GREEN))}::",
    ]
    assert {VOC_RED, VOC_GREEN} <= {colour for _, colour in labels.convert("RGB").getcolors() or []}
    assert files["voc/ImageSets/Segmentation/default.txt"] == b"china\n"
