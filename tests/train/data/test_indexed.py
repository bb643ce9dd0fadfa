"""The reader of indexed data sets, and its errors about a wrong layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_train.data.indexed import (
    Sample,
    evenly_spread,
    photographs_in,
    read_classes,
    read_dataset,
    read_photograph,
)
from lexiseg_train.data.preparing.checking import check_masks
from tests import pictures

CLASSES = ["background", "cat", "dog"]


def write_set(root: Path, names: tuple[str, ...] = ("b", "a"), classes: list[str] = CLASSES) -> None:
    folder = root / "pets" / "val"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    (root / "pets" / "classes.json").write_text(json.dumps(classes))
    for name in names:
        Image.new("RGB", (6, 4), (200, 10, 10)).save(folder / "images" / f"{name}.jpg", quality=95)
        Image.fromarray(np.full((4, 6), 255, np.uint8)).save(folder / "masks" / f"{name}.png")


def test_a_photograph_of_countless_pixels_is_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png_of(50_000, 50_000))

    with pytest.raises(SampleError, match="50000 x 50000 pixels; expected at most 180,000,000"):
        read_photograph(tmp_path / "a.png")


def test_hidden_files_are_no_photographs(tmp_path: Path) -> None:
    write_set(tmp_path)
    for name in (".DS_Store", ".a.jpg"):  # of a file manager, and of a run that was killed
        (tmp_path / "pets" / "val" / "images" / name).touch()

    assert [sample.name for sample in read_dataset(tmp_path, "pets", "val").samples] == ["a", "b"]
    assert len(photographs_in(tmp_path / "pets" / "val")) == 2
    assert check_masks(tmp_path / "pets").photographs == {"val": 2}


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_mask_is_read_as_class_indices(tmp_path: Path, mode: str) -> None:
    values = np.array([[0, 1, 2], [20, 254, 255]], np.uint8)
    mask = Image.fromarray(values)
    if mode == "P":
        mask.putpalette([channel for value in range(256) for channel in (255 - value, value, 0)])
    mask.save(tmp_path / "mask.png")

    np.testing.assert_array_equal(Sample(tmp_path / "mask.png", tmp_path / "mask.png").read_mask(), values)


@pytest.mark.parametrize("missing", ["pets", "pets/classes.json", "pets/val/images", "pets/val/masks"])
def test_a_missing_part_is_reported_with_the_expected_layout(tmp_path: Path, missing: str) -> None:
    write_set(tmp_path)
    (tmp_path / missing).rename(tmp_path / "elsewhere")

    with pytest.raises(DatasetError) as raised:
        read_dataset(tmp_path, "pets", "val")

    assert f"{tmp_path / missing} does not exist" in str(raised.value)
    assert f"{tmp_path}/pets/val/images/NAME.jpg, masks/NAME.png and {tmp_path}/pets/classes.json" in str(raised.value)


@pytest.mark.parametrize(
    ("listing", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "expected a list of class names"),
        ('{"cat": 0}', "expected a list of class names"),
        ('{"2": "cat"}', "expected a list of class names"),
        ("[1]", "expected a list of class names"),
        ('["cat", "background"]', "'background' is mask value 1; it can only be 0"),
        ('["background", "__ignore__"]', "'__ignore__' is no class; pixels that do not count are 255"),
    ],
)
def test_an_invalid_class_list_is_refused(tmp_path: Path, listing: str, complaint: str) -> None:
    write_set(tmp_path)
    (tmp_path / "pets" / "classes.json").write_text(listing)

    with pytest.raises(DatasetError, match=complaint):
        read_dataset(tmp_path, "pets", "val")


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        (None, "images/a.jpg: cannot be read as an image"),
        (Image.new("L", (6, 5)), "masks/a.png: is 6 x 5, its photograph 6 x 4 upright; expected one size"),
        (Image.new("L", (6, 4), 3), "masks/a.png: holds 3; expected 0 to 2 and 255"),
        (Image.new("RGB", (6, 4)), "masks/a.png: is of mode RGB; expected one channel of 8 bits"),
        (Image.new("I;16", (6, 4)), "masks/a.png: is of mode I;16; expected one channel of 8 bits"),
        (Image.new("1", (6, 4)), "masks/a.png: is of mode 1; expected one channel of 8 bits"),
    ],
)
def test_an_unusable_file_is_reported(tmp_path: Path, mask: Image.Image | None, complaint: str) -> None:
    write_set(tmp_path, ("a",))
    folder = tmp_path / "pets" / "val"
    (folder / "images/a.jpg").write_bytes(b"<html>") if mask is None else mask.save(folder / "masks/a.png")

    with pytest.raises(SampleError) as raised:
        read_dataset(tmp_path, "pets", "val").samples[0].read(len(CLASSES))

    assert f"{folder}/{complaint}" in str(raised.value)


def test_a_selection_of_items_reaches_from_the_first_to_the_last() -> None:
    assert evenly_spread(range(15), 10) == [0, 1, 3, 4, 6, 7, 9, 10, 12, 13]
    assert evenly_spread("ab", 10) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "classes"),
    [
        ({"1": "sky", "2": "building"}, ("background", "sky", "building")),
        ({"0": "background", "1": "sky"}, ("background", "sky")),
        ({"0": "sky", "1": "building"}, ("sky", "building")),
        (["_background_", "sky"], ("background", "sky")),
        (["background", "ca\u00adt", "\u200bdog"], ("background", "cat", "dog")),
    ],
)
def test_class_lists_of_label_maps_and_of_labelme_are_read(
    content: object, classes: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "classes.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8-sig")

    assert read_classes(tmp_path / "classes.json") == classes
