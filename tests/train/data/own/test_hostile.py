"""A set that somebody else made: what it names outside its folder is not read, nor repeated in a message."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.own.layouts import read_own
from lexiseg_train.data.own.masks import OwnPictures
from tests.train.data.own.made import coco, folders, photo, write

SECRET = "REDIS_PASSWORD=hunter2"
POLYGON = {"label": "cat", "points": [[8, 6], [16, 6], [16, 18], [8, 18]], "shape_type": "polygon"}
LARGE = {"id": 1, "image_id": 0, "category_id": 3, "segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]]}


def yolo(root: Path, text: str) -> None:
    photo(root / "images/a.jpg", seed=1)
    write(root / "labels/a.txt", "0 .25 .25 .5 .25 .5 .75\n")
    write(root / "data.yaml", f"{text}\nnames: [cat]\n")


def named_by_coco(name: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        coco(root, [LARGE, {**LARGE, "id": 2, "image_id": 1}], images=2)
        content = json.loads((root / "annotations.json").read_text())
        content["images"][1]["file_name"] = name
        write(root / "annotations.json", content)
        (root / "1.jpg").unlink()

    return make


def named_by_labelme(name: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        photo(root / "a.jpg", seed=1)
        for stem, path in (("a", "a.jpg"), ("b", name)):
            about = {"imagePath": path, "imageHeight": 24, "imageWidth": 32, "shapes": [POLYGON]}
            write(root / f"{stem}.json", about)

    return make


def listed_by_yolo(lines: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        yolo(root, "train: train.txt")
        write(root / "train.txt", lines)

    return make


def linked(place: str, target: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        yolo(root, "train: images")
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).unlink(missing_ok=True)
        (root / place).symlink_to(root.parent / target)

    return make


def linked_mask(root: Path) -> None:
    folders(root, 2)
    (root / "masks/1.png").unlink()
    (root / "masks/1.png").symlink_to(root.parent / "private/mask.png")


OUTSIDE: dict[str, Callable[[Path], None]] = {
    "YOLO, an absolute root": lambda root: yolo(root, f"path: {root.parent}/private\ntrain: environ"),
    "YOLO, the environment": lambda root: yolo(root, "path: /proc/self\ntrain: environ"),
    "YOLO, an absolute split": lambda root: yolo(root, f"train: {root.parent}/private/environ"),
    "YOLO, a split above": lambda root: yolo(root, "train: ../private/environ"),
    "YOLO, a folder above": lambda root: yolo(root, "train: ../private"),
    "YOLO, one of several": lambda root: yolo(root, "train: [images, ../private]"),
    "YOLO, a list in another folder": lambda root: yolo(
        root, "path: ..\ntrain: private/environ\nval: private/list.txt"
    ),
    "YOLO, a list of pictures above": listed_by_yolo("images/a.jpg\n../private/secret.jpg\n/etc/secret.jpg\n"),
    "YOLO, a list of other lines": listed_by_yolo(f"{SECRET}\nimages/a.jpg\n"),
    "COCO, above": named_by_coco("../private/secret.jpg"),
    "COCO, far above": named_by_coco("images/../../../../../../../../etc/passwd"),
    "COCO, an address of a file": named_by_coco("file:///etc/passwd"),
    "COCO, a NUL": named_by_coco("a\0.jpg"),
    "COCO, Windows": named_by_coco("..\\private\\secret.jpg"),
    "Labelme, above": named_by_labelme("../private/secret.jpg"),
    "Labelme, absolute": named_by_labelme("/etc/passwd"),
    "a link to a photograph": linked("images/b.jpg", "private/secret.jpg"),
    "a link to a text": linked("images/b.jpg", "private/environ"),
    "a link to labels": linked("labels/a.txt", "private/environ"),
    "a link to a folder": linked("images/more", "private"),
    "a link to itself": linked("images/c", "mine/images/c"),
    "a link to the folder around": linked("images/more", "mine"),
    "a link to a mask": linked_mask,
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_what_a_set_names_outside_its_folder_is_not_read(case: str, tmp_path: Path) -> None:
    private = tmp_path / "private"
    write(private / "environ", f"{SECRET}\n0 .1 .1 .5 .1 .5 .5\n")
    write(private / "list.txt", "secret.jpg\n")
    photo(private / "secret.jpg", seed=7)
    Image.fromarray(np.ones((24, 32), np.uint8)).save(private / "mask.png")
    OUTSIDE[case](tmp_path / "mine")

    read, said = everything(tmp_path / "mine")

    assert all(each.image.resolve().is_relative_to(tmp_path / "mine") for each in (*read.train, *read.held_out))
    assert len(read.train) + len(read.held_out) <= 1
    assert "hunter2" not in said
    assert "root:" not in said


def everything(root: Path) -> tuple[OwnPictures, str]:
    """The pictures of a set, and all that is said about it."""
    try:
        pictures = read_own(root)
    except DatasetError as error:
        return OwnPictures(root, (), (), ()), str(error)
    for picture in (*pictures.train, *pictures.held_out):
        picture.read(len(pictures.classes))
    return pictures, " ".join((*pictures.warnings, *pictures.left_out, *pictures.classes))


def test_a_root_above_allows_what_it_holds_and_nothing_else(tmp_path: Path) -> None:
    yolo(tmp_path / "data/mine", "path: ../store\ntrain: images\nval: /etc")
    yolo(tmp_path / "data/store", "train: images")

    pictures = read_own(tmp_path / "data/mine", root=tmp_path / "data")

    assert [each.image for each in pictures.train] == [tmp_path / "data/store/images/a.jpg"]
    assert int((pictures.train[0].read().mask == 1).sum()) > 0
    assert any("there is no '/etc'" in each for each in pictures.warnings)


@pytest.mark.parametrize("name", ["data.yaml", "annotations.json", "classes.json", "a.json"])
def test_a_file_that_is_not_understood_is_named_and_not_quoted(name: str, tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg", seed=1)
    write(tmp_path / name, f"{{{SECRET}: [\n")

    _, said = everything(tmp_path)

    assert "hunter2" not in said
