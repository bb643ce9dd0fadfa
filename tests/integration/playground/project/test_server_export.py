"""Where there is a server, the project's export comes in every format that the service writes, its pictures beside."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from lexiseg_labels.data_set import REVIEWED_LIST
from lexiseg_labels.formats.coco import ANNOTATIONS
from lexiseg_model.masks.rle import encode_mask
from tests import coco, pictures
from tests.integration.playground.asking import CHINA, add, choose_many, expect_result, picture, without_heads
from tests.integration.playground.conftest import opened
from tests.integration.playground.expect import expect
from tests.integration.server import Server

FLOWER = pictures.encoded(pictures.small("flower", 96), "PNG")
FILES = {"china.jpg": CHINA, "caf\N{LATIN SMALL LETTER E WITH ACUTE} 1.png": FLOWER}
MASKS = """async () => {
    const { shownOf } = await import("/playground/answer.js");
    const { all } = await import("/playground/project/project.js");
    return all().map(({ doc }) => shownOf(doc).map(({ label, mask }) => [label, mask]));
}"""


@pytest.fixture(scope="module")
def labelled(browser: Browser, server: Server) -> Page:
    """A page whose project is labelled."""
    context = browser.new_context(accept_downloads=True)
    without_heads(context)
    page = opened(context, server.url)
    add(page, "sky", "building", "flower")
    choose_many(page, *(picture(name, one) for name, one in FILES.items()))
    expect_result(page, "Found sky")
    page.get_by_role("button", name="Label all").click()
    expect(page.locator("#strip .labelled")).to_have_count(len(FILES))
    return page


def exported(page: Page, to: str) -> dict[str, bytes]:
    """The files of an export."""
    page.get_by_label("Format of the export").select_option(to)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export project").click()
    assert Path(download.value.suggested_filename).stem == (to or "project")
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_export_holds_the_masks_of_the_page_and_the_pictures(labelled: Page) -> None:
    files, beside = exported(labelled, "datumaro"), exported(labelled, "labelme")

    written = json.loads(files["annotations/default.json"])
    names = [label["name"] for label in written["categories"]["label"]["labels"]]
    for item, shown in zip(written["items"], labelled.evaluate(MASKS), strict=True):
        found = {names[one["label_id"]]: coco.decode(one["rle"]) for one in item["annotations"]}
        assert found.keys() == {label for label, _ in shown}
        for label, mask in shown:
            np.testing.assert_array_equal(found[label], coco.decode(mask))
    assert {name: files[f"images/default/{name}"] for name in FILES} == FILES
    assert {name: beside[name] for name in FILES} == FILES


@pytest.mark.parametrize(("side", "wanted"), [(4, [36, 16]), (8, [20, 64])], ids=["smaller above", "larger above"])
def test_writers_that_put_the_smaller_above_draw_what_the_page_shows(
    labelled: Page, side: int, wanted: list[int]
) -> None:
    masks = np.zeros((2, 12, 12), bool)
    masks[0, :6, :6] = masks[1, 2 : 2 + side, 2 : 2 + side] = True
    sent = [
        {"task": "prompt", "mask": {"size": one.size, "counts": one.counts}, "area": one.area, "bbox": one.bbox}
        for one in map(encode_mask, masks)
    ]

    arranged = labelled.evaluate(
        "async (some) => (await import('/playground/document.js')).bySize(some).map(({ mask }) => mask)", sent
    )

    assert [coco.decode(mask).sum() for mask in arranged] == wanted


def test_only_what_is_reviewed_is_exported_where_that_is_chosen(labelled: Page) -> None:
    china, flower = FILES
    labelled.locator("#strip button").first.click()
    labelled.get_by_role("button", name="Accept", exact=True).click()
    expect(labelled.locator("#strip .reviewed")).to_have_count(1)
    whole = exported(labelled, "coco")

    labelled.check("#only-reviewed")
    less, of_cvat = exported(labelled, "coco"), exported(labelled, "cvat")
    labelled.uncheck("#only-reviewed")  # the page is that of the other tests

    assert less.keys() == {ANNOTATIONS, f"images/{china}"}
    images = [json.loads(files[ANNOTATIONS])["images"] for files in (whole, less)]
    marks = [{image["file_name"]: image["reviewed"] for image in some} for some in images]
    assert marks == [{china: True, flower: False}, {china: True}]
    assert of_cvat[REVIEWED_LIST].decode() == f"{china}\n"


def test_a_refusal_of_the_service_is_told(labelled: Page) -> None:
    labelled.route(
        "**/playground/export/*", lambda route: route.fulfill(status=422, json={"detail": "classes: too many"})
    )

    labelled.get_by_label("Format of the export").select_option("cvat")
    labelled.get_by_role("button", name="Export project").click()

    expect(labelled.locator("#result")).to_have_text("classes: too many")
    labelled.unroute("**/playground/export/*")
