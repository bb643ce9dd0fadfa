"""A project's zip, read by the libraries that its files are for: what they find is what the page shows."""

import json
import re
import zipfile
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
import supervision
from playwright.sync_api import Browser, expect
from pycocotools.coco import COCO

from tests import coco, pictures
from tests.integration.adapters.tools import ask_with
from tests.integration.playground.asking import CHINA, add, segments
from tests.integration.playground.conftest import PATIENCE, opened
from tests.integration.server import Server

WORDS = ("sky", "no: #such", "a & b: 'flower'|flower", "background")
FILES = {"caf\N{LATIN SMALL LETTER E WITH ACUTE} 1.jpg": "china", " #two.png": "flower", "two.jpg": "chelsea"}
STEMS = ("caf\N{LATIN SMALL LETTER E WITH ACUTE} 1", "_two", "two")
FOUND = """async () => {
    const { all } = await import("/playground/project/project.js");
    return all().map(({ doc }) => doc.segments.map(({ label, area }) => [label, area]));
}"""

Found = dict[str, Counter[str]]


@pytest.fixture(scope="module")
def project(browser: Browser, server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found]:
    """The unpacked zip, and how many pixels of each label the page shows, by the stem of the picture's name."""
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    page = opened(context, server.url)
    page.evaluate("['many', 'more'].forEach((id) => (document.getElementById(id).open = true))")
    page.uncheck("#background")
    add(page, *WORDS)
    contents = [CHINA, *(pictures.encoded(pictures.small(name, 96), "PNG") for name in list(FILES.values())[1:])]
    chosen = [{"name": name, "mimeType": "image/png", "buffer": one} for name, one in zip(FILES, contents, strict=True)]
    page.set_input_files("#files", chosen)  # type: ignore[arg-type]
    expect(segments(page).first).to_be_visible()
    expect(page.locator("#note")).to_contain_text("3 of 3")
    page.get_by_role("button", name="Label all").click()
    expect(page.locator("#strip .labelled")).to_have_count(len(FILES))
    with page.expect_download() as download:
        page.get_by_role("button", name="Export project").click()
    found = [Counter(dict(one)) for one in page.evaluate(FOUND)]
    folder = tmp_path_factory.mktemp("project")
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(folder)
    context.close()
    return folder, dict(zip(STEMS, found, strict=True))


def near(found: Found) -> Found:
    """Polygons are drawn with their borders: a line of pixels more."""
    return {
        stem: Counter({label: pytest.approx(area, rel=0.25, abs=1000) for label, area in one.items()})
        for stem, one in found.items()
    }


def test_pycocotools_reads_coco(project: tuple[Path, Found]) -> None:
    folder, found = project
    read = COCO(folder / "annotations" / "instances_default.json")
    names = {category["id"]: category["name"] for category in read.loadCats(read.getCatIds())}

    masks: Found = {Path(image["file_name"]).stem: Counter() for image in read.imgs.values()}
    for one in read.anns.values():
        stem = Path(read.imgs[one["image_id"]]["file_name"]).stem
        masks[stem][names[one["category_id"]]] += int(coco.decode(one["segmentation"]).sum())

    assert masks == found


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_supervision_reads_coco_and_yolo(project: tuple[Path, Found], kind: str) -> None:
    folder, found = project
    pictures_of = str(folder / "images")
    if kind == "coco":
        listing = str(folder / "annotations" / "instances_default.json")
        read = supervision.DetectionDataset.from_coco(pictures_of, listing, force_masks=True)
    else:
        texts, names = str(folder / "labels"), str(folder / "data.yaml")
        read = supervision.DetectionDataset.from_yolo(pictures_of, texts, names, force_masks=True)

    masks: Found = {stem: Counter() for stem in found}
    for path, _, detections in read:
        assert detections.mask is not None
        assert detections.class_id is not None
        for mask, label in zip(detections.mask, detections.class_id, strict=True):
            masks[Path(path).stem][read.classes[label]] += int(mask.sum())

    assert masks == (found if kind == "coco" else near(found))


@pytest.mark.parametrize("kind", ["coco_instances", "coco", "cvat", "voc_segmentation"])
def test_datumaro_reads_coco_cvat_and_voc(project: tuple[Path, Found], kind: str) -> None:
    folder, found = project
    file = {"coco_instances": folder / "annotations" / "instances_default.json", "voc_segmentation": folder / "voc"}

    (read,) = ask_with("datumaro_reads", str(file.get(kind, folder)), kind)

    masks = {
        stem: Counter({label: area for form, label, area in some if form == "mask"})
        for stem, some in read["items"].items()
    }
    if kind == "voc_segmentation":  # whose own background is none of the classes
        found = {
            stem: Counter({re.sub("^background$", "background-2", label): area for label, area in one.items()})
            for stem, one in found.items()
        }
    assert masks == found


def test_label_studio_takes_the_predictions(project: tuple[Path, Found]) -> None:
    folder, found = project

    read = ask_with("label_studio_reads", str(folder / "label-studio.json"))

    assert [one["wrong"] for one in read] == [[]] * len(found)
    assert {
        Path(unquote(one["image"]).removeprefix("/data/local-files/?d=")).stem: set(one["labels"]) for one in read
    } == {stem: set(one) for stem, one in found.items()}


def test_numbers_of_yolo_s_classes_are_those_of_its_list(project: tuple[Path, Found]) -> None:
    folder, found = project
    labels = json.loads((folder / "label-maps" / "classes.json").read_text())

    assert labels.pop("0") == "background"
    assert set(labels.values()) == set().union(*found.values())
