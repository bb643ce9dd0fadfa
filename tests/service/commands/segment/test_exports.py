"""What `lexiseg segment --format` writes, read back by the tools that it is for."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO

from lexiseg_labels.names import ROOM, fitting
from lexiseg_model.files.names import from_text
from tests import coco, pictures
from tests.integration.adapters.tools import ask_with
from tests.service.commands.command_line import CommandLine

QUESTION = ("-c", "sky", "-c", "type:building", "-c", "#tree", "-c", "background")
LABELS = ["sky", "type:building", "#tree"]
LATIN = os.fsdecode(b"caf\xe9")
ODD = ("n" * 251, " #a b: c,d", "\N{CJK UNIFIED IDEOGRAPH-56FE}\N{PILE OF POO}", "a\nb")
STEMS = (fitting(ODD[0], ROOM), "a b_ c,d", ODD[2], "a_b")
VOC_KINDS = ("voc", "voc_segmentation", "voc_instance_segmentation", "voc_detection")


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A photograph of each odd name, the first on its side by EXIF."""
    folder = tmp_path / "album"
    folder.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    for place, name in enumerate((*ODD, LATIN)):
        picture = pictures.small("china", 96)
        picture.save(folder / f"{name}.jpg", exif=Image.Exif() if place else turned)
    return folder


def truth(lexiseg: CommandLine, source: Path, out: Path) -> dict[str, dict[str, int]]:
    """Pixels of each label by the photograph's stem, from COCO's file as pycocotools reads it."""
    assert lexiseg("segment", source, *QUESTION, "--out", out, "-q").status == 0
    read = COCO(out / "annotations/instances_default.json")
    names = {category["id"]: category["name"] for category in read.loadCats(read.getCatIds())}
    pixels: dict[str, dict[str, int]] = {}
    for image in read.loadImgs(read.getImgIds()):
        annotations = read.loadAnns(read.getAnnIds([image["id"]]))
        assert all(coco.decode(each["segmentation"]).sum() == each["area"] for each in annotations)
        pixels[Path(from_text(image["source"])).stem] = {
            names[each["category_id"]]: each["area"] for each in annotations
        }
    return pixels


def masks(item: list[list[Any]]) -> dict[str, int]:
    return {label: area for kind, label, area in item if kind == "mask"}


def test_datumaro_reads_voc(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    expected = truth(lexiseg, album, tmp_path / "coco")

    outcome = lexiseg("segment", album, *QUESTION, "--format", "voc", "--out", tmp_path / "voc")

    assert outcome.status == 0, outcome.err
    files = [text for kind in VOC_KINDS for text in (tmp_path / "voc", kind)]
    for kind, read in zip(VOC_KINDS, ask_with("datumaro_reads", *map(str, files)), strict=True):
        assert read["labels"] == ["background", *LABELS, "background-2"]
        assert set(read["items"]) == {*STEMS, "caf_"}
        for stem, name in zip(STEMS, ODD, strict=True):
            found = read["items"][stem]
            assert expected[name]
            # VOC's own background is no class.
            named = {f"{label}-2" if label == "background" else label: area for label, area in expected[name].items()}
            assert "detection" in kind or masks(found) == named
            assert kind == "voc_segmentation" or {label for of, label, _ in found if of == "bbox"} == set(named)


def test_labelmes_reader_opens_every_file(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    expected = truth(lexiseg, album, tmp_path / "coco")

    lexiseg("segment", album, *QUESTION, "--format", "labelme", "--out", tmp_path / "out")
    without = ("segment", album / f"{ODD[2]}.jpg", *QUESTION, "--threshold", 1, "--format", "labelme")
    lexiseg(*without, "--out", tmp_path / "none")

    files = sorted((tmp_path / "out").glob("[!.]*.json"))
    *read, empty = ask_with("labelme_reads", *map(str, files), str(tmp_path / f"none/{ODD[2]}.json"))
    assert empty["shapes"] == []
    assert len(read) == len(ODD) + 1
    named = {file.stem: {label for label, _ in each["shapes"]} for file, each in zip(files, read, strict=True)}
    assert named["caf_"] == set(expected[LATIN])
    assert {tuple(file["size"]) for file in read} == {(96, 64), (64, 96)}


def test_a_voc_segment_without_a_label_is_an_object(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    question = (album / f"{ODD[2]}.jpg", "-c", "object", "--point", "20,50", "--point", "50,10")

    assert lexiseg("segment", *question, "--format", "voc", "--out", tmp_path / "out").status == 0

    (read,) = ask_with("datumaro_reads", str(tmp_path / "out"), "voc")
    assert read["labels"] == ["background", "object", "object-2"]
    assert read["items"][ODD[2]]
