"""Prompts drawn for training: objects of a mask, points on them, boxes around them."""

from __future__ import annotations

import numpy as np
import pytest

from lexiseg_model.data.scenes import Objects
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.training.prompt_draw import Drawn, draw, find_objects
from lexiseg_model.methods.tiny.training.recipe import MaskSet

SIDE = 48  # labels
LONE, SURE = 40, 80


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Prompts about a square and a long bar; the lowest rows are ignored."""
    ids = np.zeros((SIDE, SIDE), np.int32)
    ids[4:20, 6:22] = 1
    ids[30:34, 2:46] = 2
    ignored = np.zeros((SIDE, SIDE), bool)
    ignored[40:] = True
    return draw(Objects(ids, (1, 2), ignored), LONE, SURE, np.random.default_rng(0))


def test_lone_prompts_are_one_positive_point_each(drawn: Drawn) -> None:
    assert drawn.signs[:LONE].tolist() == [[1, 0, 0, 0]] * LONE
    assert not drawn.has_box[:LONE].any()


def test_other_prompts_have_a_box_or_several_points(drawn: Drawn) -> None:
    several = (drawn.signs[LONE:] != 0).sum(1) > 1

    assert (several | (drawn.has_box[LONE:] == 1)).all()
    assert several.any()


def test_positive_points_lie_on_the_object_and_negative_ones_beside_it(drawn: Drawn) -> None:
    whole = drawn.targets.max()  # labels of a cell inside an object

    for points, signs, target in zip(drawn.points, drawn.signs, drawn.targets, strict=True):
        for (x, y), sign in zip(points, signs, strict=True):
            covered = target[int(y) // STRIDE, int(x) // STRIDE]
            assert sign == 0 or (covered > 0 if sign > 0 else covered < whole)


def test_each_component_of_a_mask_is_an_object_unless_it_is_small() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:2, :2] = mask[:3, 6:] = 1
    mask[3:6, :3] = 2
    mask[3:6, 3:4] = 3
    mask[7] = 255

    every = find_objects(mask, MaskSet(share=1.0), smallest=1, whole=False)
    large = find_objects(mask, MaskSet(share=1.0, nothing=0), smallest=4, whole=False)

    assert every.labels == (0, 1, 1, 2, 3)
    assert np.array_equal(every.ids == 4, mask == 2)
    assert large.labels == (1, 1, 2)
    assert not large.ids[mask == 3].any()
