"""COCO's JSON becomes masks: polygons, both kinds of run lengths, crowds, what lies above what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexiseg_model.data.indexed import IGNORE
from lexiseg_model.data.own.coco import listings, read_coco
from lexiseg_model.data.own.pictures import OwnPictures
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import encode_mask
from tests.model.data.own.made import coco

LARGE = {"id": 1, "image_id": 0, "category_id": 3, "segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]]}
SMALL = {"id": 2, "image_id": 0, "category_id": 7, "segmentation": [[4, 4, 8, 4, 8, 8, 4, 8]]}


def read(root: Path) -> OwnPictures:
    return read_coco(root, listings(root))


@pytest.mark.parametrize("annotations", [[LARGE, SMALL], [SMALL, LARGE]])
def test_the_smaller_of_two_lies_above_whatever_their_order(annotations: list[dict[str, Any]], tmp_path: Path) -> None:
    pictures = read(coco(tmp_path, annotations))

    mask = pictures.train[0].read_mask()

    assert pictures.classes == ("background", "dog", "cat")
    assert np.bincount(mask.ravel()).tolist() == [24 * 32 - 400, 16, 400 - 16]
    assert mask[5, 5] == 1


def test_run_lengths_are_read_in_both_forms(tmp_path: Path) -> None:
    shape = np.zeros((24, 32), bool)
    shape[2:6, 3:9] = True
    plain = [3 * 24 + 2]  # columns first
    for _ in range(5):
        plain += [4, 20]
    plain += [4, 24 * 32 - sum(plain) - 4]
    forms = ({"size": [24, 32], "counts": encode_mask(shape).counts}, {"size": [24, 32], "counts": plain})

    for number, form in enumerate(forms):
        pictures = read(coco(tmp_path / str(number), [{**SMALL, "segmentation": form}]))
        assert np.array_equal(pictures.train[0].read_mask() == 1, shape)


def test_a_crowd_counts_nowhere(tmp_path: Path) -> None:
    mask = read(coco(tmp_path, [LARGE, {**SMALL, "iscrowd": 1}])).train[0].read_mask()

    assert mask[5, 5] == IGNORE


def test_a_photograph_without_annotations_is_background(tmp_path: Path) -> None:
    pictures = read(coco(tmp_path, [LARGE], images=2))

    assert not pictures.train[1].read_mask().any()


@pytest.mark.parametrize("file", ["instances_val2017.json", "val.json", "valid/_annotations.coco.json"])
def test_files_of_a_validation_part_are_held_out(file: str, tmp_path: Path) -> None:
    (tmp_path / "valid").mkdir()
    coco(tmp_path, [LARGE], images=3)
    coco(tmp_path, [LARGE], file, images=2)

    pictures = read(tmp_path)

    assert (len(pictures.train), len(pictures.held_out)) == (3, 2)


def test_photographs_that_are_not_there_are_counted_and_named(tmp_path: Path) -> None:
    coco(tmp_path, [LARGE], images=3)
    (tmp_path / "1.jpg").unlink()

    with pytest.raises(DatasetError, match=r"1 of 3 photographs are not there, as 1\.jpg"):
        read(tmp_path)


@pytest.mark.parametrize("segmentation", [[[1, 2, 3]], {"size": [24, 32], "counts": [5]}, {"counts": "?"}])
def test_an_annotation_that_cannot_be_drawn_names_its_file(segmentation: Any, tmp_path: Path) -> None:
    pictures = read(coco(tmp_path, [{**SMALL, "segmentation": segmentation}]))

    with pytest.raises(DatasetError, match=r"annotations\.json: an annotation cannot be drawn"):
        pictures.train[0].read_mask()


def test_a_file_without_annotations_names_no_class(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="0 categories have annotations; expected 1 to 254"):
        read(coco(tmp_path, []))


def test_other_json_is_no_listing(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('["cat"]')
    (tmp_path / "broken.json").write_text("{")

    assert listings(tmp_path) == []
