"""A user's pictures in folders: read, checked and written as a data set."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import encode_mask
from lexiseg_train.data.indexed import IGNORE, read_dataset
from lexiseg_train.data.own.layouts import read_own
from lexiseg_train.data.own.prepare import prepare
from tests.train.data.own.made import coco, folders, noise, save


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_folder_is_held_out(name: str, tmp_path: Path) -> None:
    folders(tmp_path / "train", 5)
    folders(tmp_path / name, 3)
    shutil.move(tmp_path / "train" / "classes.json", tmp_path)

    pictures = read_own(tmp_path)

    assert (len(pictures.train), len(pictures.held_out)) == (5, 3)


def test_photographs_without_masks_are_left_out_and_counted(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / "masks" / "3.png").unlink()

    pictures = read_own(tmp_path)

    assert len(pictures.train) == 7
    assert pictures.warnings == ("photographs without a mask of their own, left out: 1 of 8, such as 3.jpg",)


def test_names_of_any_bytes_and_length_are_prepared_and_hidden_files_left_out(tmp_path: Path) -> None:
    folders(tmp_path / "own", 4)
    for number, name in enumerate((b"n" * 251, b"caf\xe9")):
        for kind, suffix in (("images", ".jpg"), ("masks", ".png")):
            path = tmp_path / "own" / kind / f"{number}{suffix}"
            path.rename(path.with_name(os.fsdecode(name) + suffix))
    (tmp_path / "own/images/._2.jpg").write_bytes(b"of macOS")

    assert prepare(tmp_path / "own", tmp_path / "sets/mine").photographs == {"train": 4}


@pytest.mark.parametrize("classes", [["cat", "background"], ["cat", "cat"], ["background"]])
def test_a_malformed_class_list_is_refused(classes: object, tmp_path: Path) -> None:
    folders(tmp_path, 1)
    (tmp_path / "classes.json").write_text(json.dumps(classes))

    with pytest.raises(DatasetError, match=r"classes\.json: "):
        read_own(tmp_path)


def faulty(root: Path, count: int) -> Path:
    """A set in which five pictures cannot be used."""
    folders(root, count)
    save(root, "1", noise(1), np.zeros((24, 30), np.uint8))
    save(root, "2", noise(2), np.full((24, 32), 9, np.uint8))
    save(root, "3", noise(3), noise(3))
    (root / "images" / "4.jpg").write_bytes(b"nothing")
    save(root, "5", noise(5, 15, 32), np.zeros((15, 32), np.uint8))
    return root


REASONS = (
    "1.jpg: is 30 x 24, its photograph 32 x 24 upright; expected one size",
    "2.jpg: holds 9; expected 0 to 2 and 255",
    "3.png: is of mode RGB; expected one channel",
    "4.jpg: cannot be read as an image",
    "5.jpg has a side of 15 pixels, not 16",
)


def test_pictures_that_cannot_be_used_are_left_out_with_the_reasons_or_too_few_are_left(tmp_path: Path) -> None:
    report = prepare(faulty(tmp_path / "mine", 10), tmp_path / "out")
    with pytest.raises(DatasetError, match="expected at least 4 photographs, the set has 3; 5 are left out") as raised:
        prepare(faulty(tmp_path / "few", 8), tmp_path / "none")

    assert (report.photographs, report.left_out) == ({"train": 5}, 5)
    assert any("photographs or masks that cannot be used, left out: 5: " in each for each in report.warnings)
    for reason in REASONS:
        assert any(reason in each for each in report.left_out_pictures)
        assert reason in str(raised.value)
    assert not (tmp_path / "none").exists()


def test_a_training_photograph_is_not_measured_in_validation(tmp_path: Path) -> None:
    folders(tmp_path / "train")
    folders(tmp_path / "val", 2)
    for number in (0, 1):
        save(tmp_path / "val", f"{number}", noise(20 + number), np.ones((24, 32), np.uint8))
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        shutil.copy(tmp_path / "train" / kind / f"5.{suffix}", tmp_path / "val" / kind / f"other.{suffix}")
    shutil.move(tmp_path / "train" / "classes.json", tmp_path)

    prepared = prepare(tmp_path, tmp_path / "out")

    assert prepared.photographs == {"train": 8, "val": 2}
    assert prepared.warnings == ("duplicates, each used once: 1, such as val/images/other.jpg",)


def test_large_photographs_are_downscaled_with_their_masks(tmp_path: Path) -> None:
    folders(tmp_path / "mine")
    mask = np.zeros((1024, 2048), np.uint8)
    mask[:, :1024] = 2
    for number in range(8):
        save(tmp_path / "mine", f"{number}", noise(number, 1024, 2048), mask)

    prepare(tmp_path / "mine", tmp_path / "laid" / "out")

    sample = read_dataset(tmp_path / "laid", "out", "train").samples[0]
    assert sample.read_image().shape == (512, 1024, 3)
    assert (sample.read_mask()[:, :512] == 2).all()
    assert not sample.read_mask()[:, 512:].any()


@pytest.mark.parametrize("make", [True, False])
def test_an_unknown_layout_is_refused_with_the_known_layouts(make: bool, tmp_path: Path) -> None:
    if make:
        (tmp_path / "mine").mkdir()

    with pytest.raises(DatasetError) as raised:
        read_own(tmp_path / "mine")

    for word in ("COCO's JSON", "classes.json", "images/NAME.jpg", "masks/NAME.png"):
        assert word in str(raised.value)


LARGE = {"id": 1, "image_id": 0, "category_id": 3, "segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]]}
SMALL = {"id": 2, "image_id": 0, "category_id": 7, "segmentation": [[4, 4, 8, 4, 8, 8, 4, 8]]}


@pytest.mark.parametrize(
    "file", ["instances_val2017.json", "val.json", "valid/_annotations.coco.json", "instances_Validation.json"]
)
def test_files_named_as_validation_are_held_out(file: str, tmp_path: Path) -> None:
    (tmp_path / "valid").mkdir()
    coco(tmp_path, [LARGE], images=3)
    coco(tmp_path, [LARGE], file, images=2)

    pictures = read_own(tmp_path)

    assert (len(pictures.train), len(pictures.held_out)) == (3, 2)


def test_the_name_of_the_users_folder_is_no_split(tmp_path: Path) -> None:
    assert len(read_own(coco(tmp_path / "val", [LARGE], images=3)).train) == 3


def test_a_file_without_a_usable_annotation_is_refused_with_the_reason(tmp_path: Path) -> None:
    coco(tmp_path, [{key: value for key, value in LARGE.items() if key != "category_id"}])

    with pytest.raises(
        DatasetError, match=r"(?s)0 categories have annotations.*annotation 1 of 0\.jpg: no category_id"
    ):
        read_own(tmp_path)


def test_a_mask_painted_in_cvat_is_not_a_crowd(tmp_path: Path) -> None:
    # CVAT, by Datumaro: every mask has iscrowd 1, and every annotation its attributes.
    shape = np.zeros((24, 32), bool)
    shape[4:8, 4:8] = True
    painted = {"segmentation": {"size": [24, 32], "counts": encode_mask(shape).counts}, "iscrowd": 1}

    pictures = read_own(coco(tmp_path, [LARGE, {**SMALL, **painted, "attributes": {"occluded": False}}]))

    assert pictures.train[0].read_mask()[5, 5] == 1
    assert pictures.warnings == ()


@pytest.mark.parametrize("empty", [[], [[]], None])
def test_a_box_without_an_outline_is_ignored_with_a_warning(empty: object, tmp_path: Path) -> None:
    # Label Studio's rectangles.
    box = {"id": 3, "image_id": 0, "category_id": 7, "segmentation": empty, "bbox": [24.5, 1, 3, 4.2], "iscrowd": 0}

    pictures = read_own(coco(tmp_path, [LARGE, box, {**SMALL, "iscrowd": 1}]))

    mask = pictures.train[0].read_mask()
    assert np.argwhere(mask[:, 22:] == IGNORE).tolist() == [
        [row, column] for row in range(1, 6) for column in range(2, 6)
    ]
    assert pictures.warnings == (
        f"1 of 3 annotations in {tmp_path}/annotations.json are boxes without an outline: their pixels are ignored",
        f"1 annotations in {tmp_path}/annotations.json are crowds (iscrowd), their pixels ignored",
    )


@pytest.mark.parametrize("classes", [["background", "cat"], ["background", "cat", "dog"]])
def test_255_is_the_only_class_of_masks_that_hold_nothing_else(classes: list[str], tmp_path: Path) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :16] = 255  # as cut-out tools mark the object
    for number in range(4):
        save(tmp_path, f"{number}", noise(number), mask)
    (tmp_path / "classes.json").write_text(json.dumps(classes))

    if len(classes) > 2:  # it may be any of them
        with pytest.raises(
            DatasetError, match=r"no photograph shows a pixel of a class; .* hold only 0 and perhaps 255"
        ):
            prepare(tmp_path, tmp_path / "out")
        return
    report = prepare(tmp_path, tmp_path / "out")

    assert report.classes[0].pixels == 4 * 24 * 16
    assert any("255 is read as 'cat', the only class" in warning for warning in report.warnings)


def test_255_is_unknown_where_a_mask_shows_the_only_class(tmp_path: Path) -> None:
    for number, value in enumerate((255, 1)):
        save(tmp_path, f"{number}", noise(number), np.full((24, 32), value, np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps(["background", "cat"]))

    masks = [picture.read(2).mask for picture in read_own(tmp_path).train]

    assert [np.unique(mask).tolist() for mask in masks] == [[255], [1]]


@pytest.mark.parametrize(
    "name", ["images/a.jpg masks/a.jpg", "train/images/a.jpg train/masks/a.jpeg", "a.jpg a_mask.jpg"]
)
def test_masks_in_jpeg_are_refused_as_such(name: str, tmp_path: Path) -> None:
    for place in name.split():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(0)).save(tmp_path / place)

    with pytest.raises(DatasetError, match="is a mask in JPEG, which changes its values: save masks as PNG"):
        read_own(tmp_path)


@pytest.mark.parametrize("packed", ["folder", "zip", "tar"])
def test_a_set_is_imported_from_a_folder_or_an_archive(packed: str, tmp_path: Path) -> None:
    folders(tmp_path / "around/mine", 5)
    mask = np.full((24, 32), IGNORE, np.uint8)
    mask[:2] = 1
    save(tmp_path / "around/mine", "5", noise(5), mask)
    source = tmp_path / "around/mine"
    if packed != "folder":
        source = Path(shutil.make_archive(str(tmp_path / "mine"), packed, tmp_path / "around"))

    report = prepare(source, tmp_path / "sets/mine")

    assert [(each.name, each.pictures, each.pixels) for each in report.classes] == [("cat", 4, 1216), ("dog", 2, 768)]
    assert (report.unknown_pixels, report.background_pixels) == (22 * 32, 5 * 24 * 16)
    assert json.loads((tmp_path / "sets/mine/report.json").read_bytes()) == json.loads(json.dumps(asdict(report)))
    names = [Path(name).name for name in json.loads((tmp_path / "sets/mine/names.json").read_bytes())["train"]]
    assert names == [f"{number}.jpg" for number in range(6)]
    assert [each.name for each in read_dataset(tmp_path / "sets", "mine", "train").samples[:2]] == ["00000", "00001"]
    assert [*(tmp_path / "sets").iterdir()] == [tmp_path / "sets/mine"]
