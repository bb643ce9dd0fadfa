"""A user's pictures with the annotations of YOLO and Labelme, and formats that are named but not read."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.own.layouts import read_own
from tests.train.data.own.made import noise

SQUARE = "0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.75"  # of 32 x 24: columns 8 to 16, rows 6 to 18


def photograph(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed)).save(path)


def labels(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def test_the_validation_split_of_yolo_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("path: /datasets/x\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    photograph(tmp_path / "images/train/a.jpg")
    photograph(tmp_path / "images/val/b.jpg", 1)
    labels(tmp_path / "labels/train/a.txt", f"1 {SQUARE}")

    pictures = read_own(tmp_path)

    assert pictures.classes == ("background", "dog")
    assert [picture.image.name for picture in (*pictures.train, *pictures.held_out)] == ["a.jpg", "b.jpg"]
    assert len(pictures.held_out) == 1


def test_hidden_companions_of_macos_are_no_pictures_and_no_shapes(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    photograph(tmp_path / "images/a.jpg")
    labels(tmp_path / "labels/a.txt", f"1 {SQUARE}")
    for name in ("images/._a.jpg", "images/._a.json", ".cache/b.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\x05\x16\x07")

    pictures = read_own(tmp_path)

    assert [picture.image.name for picture in pictures.train] == ["a.jpg"]
    assert pictures.warnings == ()


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0"])
def test_an_unreadable_image_of_yolo_costs_itself_alone(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    photograph(tmp_path / "images" / "a.jpg")
    (tmp_path / "images" / "b.jpg").write_bytes(content)
    for name in "ab":
        labels(tmp_path / "labels" / f"{name}.txt", f"1 {SQUARE}")

    pictures = read_own(tmp_path)

    assert [picture.image.name for picture in pictures.train] == ["a.jpg"]
    (warning,) = pictures.warnings
    assert warning.startswith(f"1 of 2 images in {tmp_path / 'train'} cannot be used and are left out: ")
    assert "b.jpg: cannot be read as an image" in warning


def test_boxes_of_yolo_are_ignored_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")
    photograph(tmp_path / "images" / "a.jpg")
    labels(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.25 0.5")

    pictures = read_own(tmp_path)

    assert int((pictures.train[0].read().mask == IGNORE).sum()) == 8 * 12
    assert "1 of 1 annotations" in pictures.warnings[0]
    assert "are boxes without an outline" in pictures.warnings[0]


@pytest.mark.parametrize("content", ["train: images\n", "names: 5\n", "names: {a: cat}\n"])
def test_a_listing_of_yolo_without_class_names_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(content)

    with pytest.raises(DatasetError, match=r"data\.yaml has no class names"):
        read_own(tmp_path)


def test_a_split_of_yolo_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [cat]\n")

    with pytest.raises(DatasetError, match="there is no 'images/train'"):
        read_own(tmp_path)


def labelme(path: Path, *shapes: dict[str, Any], **changes: Any) -> None:
    photograph(path.with_suffix(".jpg"))
    about = {"version": "5.5.0", "imagePath": path.with_suffix(".jpg").name, "imageHeight": 24, "imageWidth": 32}
    path.write_text(json.dumps({**about, "shapes": shapes, "imageData": None, **changes}))


POLYGON = {"label": "cat", "points": [[8, 6], [16, 6], [16, 18], [8, 18]], "shape_type": "polygon"}


def test_shapes_of_labelme_become_masks(tmp_path: Path) -> None:
    circle = {"label": "dog", "points": [[24, 12], [28, 12]], "shape_type": "circle"}
    labelme(tmp_path / "a.json", POLYGON, circle)
    labelme(tmp_path / "deep" / "b.json", POLYGON)

    pictures = read_own(tmp_path)

    assert (pictures.classes, len(pictures.train)) == (("background", "cat", "dog"), 2)
    mask = pictures.train[0].read().mask
    assert int((mask == 1).sum()) == 8 * 12
    assert int((mask == 2).sum()) == pytest.approx(math.pi * 16, abs=6)


def test_an_absolute_path_of_labelme_is_found_from_a_relative_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelme(tmp_path / "set" / "a.json", POLYGON, imagePath=str(tmp_path / "set" / "a.jpg"))
    monkeypatch.chdir(tmp_path)

    pictures = read_own(Path("set"))

    assert [picture.image for picture in pictures.train] == [Path("set/a.jpg")]


def test_labels_that_differ_by_invisible_characters_are_one_class(tmp_path: Path) -> None:
    labelme(
        tmp_path / "labelme" / "a.json", POLYGON, {**POLYGON, "label": "\ufeffcat"}, {**POLYGON, "label": "ca\u200bt"}
    )
    (tmp_path / "yolo").mkdir()
    (tmp_path / "yolo" / "data.yaml").write_text('train: images\nnames: ["cat", "ca\\u00adt"]\n')
    photograph(tmp_path / "yolo" / "images" / "a.jpg")
    labels(tmp_path / "yolo" / "labels" / "a.txt", f"0 {SQUARE}", f"1 {SQUARE}")

    assert [read_own(tmp_path / tool).classes for tool in ("labelme", "yolo")] == [("background", "cat")] * 2


def test_a_name_of_yolo_that_no_file_can_have_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat]\n")
    (tmp_path / "train.txt").write_text("images/a\0.jpg\n")

    with pytest.raises(DatasetError, match="there is no such file"):
        read_own(tmp_path)


def test_labels_lie_beside_the_links_that_a_list_of_yolo_names(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat]\n")
    (tmp_path / "train.txt").write_text("./images/a.jpg\n")
    photograph(tmp_path / "store" / "17.jpg")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").symlink_to(tmp_path / "store" / "17.jpg")
    labels(tmp_path / "labels" / "a.txt", f"0 {SQUARE}")

    assert int((read_own(tmp_path).train[0].read().mask == 1).sum()) == 8 * 12


def test_a_photograph_that_was_renamed_is_found_beside_its_file(tmp_path: Path) -> None:
    labelme(tmp_path / "a.json", POLYGON, imagePath="..\\IMG_0001.JPG")

    assert read_own(tmp_path).train[0].image == tmp_path / "a.jpg"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.xml", "<annotation><filename>a.jpg</filename></annotation>", "VOC's XML of boxes"),
        ("project.json", '[{"id": 1, "annotations": []}]', "a JSON of another format"),
        ("coco.json", '{"images": [{"id": 1', "not JSON"),
    ],
)
def test_a_format_that_is_not_read_is_named(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    photograph(tmp_path / "a.jpg")

    with pytest.raises(DatasetError, match=rf"{name} is {said}.*export as COCO"):
        read_own(tmp_path)
