"""Which objects a mask shows: components, what is none, what counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError
from lexiseg_model.methods.tiny.training.prompt_objects import MaskSet, find_objects, read_samples
from tests.model.methods.tiny.training.shapes import write_shapes

EVERYTHING = MaskSet(share=1.0)


def labels() -> NDArray[np.uint8]:
    """[8, 8]: 0, two pieces of 1, one of 2, one of 3 beside it, and ignored pixels at the bottom."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:2, :2] = 1
    mask[:3, 6:] = 1
    mask[3:6, :3] = 2
    mask[3:6, 3:4] = 3
    mask[7] = 255
    return mask


def test_every_component_of_every_value_is_an_object() -> None:
    objects = find_objects(labels(), EVERYTHING, smallest=1, whole=False)

    assert objects.labels == (0, 1, 1, 2, 3)
    assert np.array_equal(objects.ids == 4, labels() == 2)


def test_components_that_are_too_small_are_nobodys() -> None:
    objects = find_objects(labels(), MaskSet(share=1.0, nothing=0), smallest=4, whole=False)

    assert objects.labels == (1, 1, 2)
    assert not objects.ids[labels() == 3].any()


def test_the_photographs_of_several_splits_are_read_one_after_the_other(tmp_path: Path) -> None:
    write_shapes(tmp_path, count=4, split="first")
    write_shapes(tmp_path, count=3, split="second")
    (tmp_path / "shapes" / "classes.json").unlink()

    samples = read_samples(tmp_path, "shapes", MaskSet(share=1.0, splits=["first", "second"], every=2))

    assert [(sample.image.parent.parent.name, sample.name) for sample in samples] == [
        ("first", "000"),
        ("first", "002"),
        ("second", "000"),
        ("second", "002"),
    ]


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="data set 'shapes', split 'train'"):
        read_samples(tmp_path, "shapes", EVERYTHING)
