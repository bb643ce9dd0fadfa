"""Which objects a mask shows: components, what is none, what counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.training.prompt_objects import MaskSet, find_objects

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
