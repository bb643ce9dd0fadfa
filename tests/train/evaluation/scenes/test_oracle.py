"""Prompts for ground-truth objects, and the IoU of the answers."""

import numpy as np
import pytest

from lexiseg_model.types import Point
from lexiseg_train.data.scenes import Objects
from lexiseg_train.evaluation.scenes.judges import (
    PromptProtocol,
    Reached,
    centre_points,
    deepest_point,
    point_grid,
    tight_boxes,
)
from tests.train.evaluation.scenes.promptable import BLOCK, PromptableColours, blocks, objects


def mask_of(*rows: str) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.array([[cell == "#" for cell in row] for row in rows])


def reach(
    protocol: PromptProtocol, rows: list[str], of: Objects, segmenter: PromptableColours | None = None
) -> Reached:
    segmenter = segmenter or PromptableColours()
    return protocol.reach(segmenter, segmenter.encode(blocks(rows)), of)


def test_the_deepest_point_is_the_centre_of_a_square() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[5:14, 10:19] = True

    assert deepest_point(mask) == Point(14.5, 9.5)


def test_the_deepest_point_lies_on_an_object_whose_middle_is_empty() -> None:
    mask = mask_of("#######.", "##...##.", "##...##.", "#######.")

    point = deepest_point(mask)

    assert mask[int(point.y), int(point.x)]


def test_the_best_of_a_points_masks_counts_and_the_first_is_told() -> None:
    # A point on one red block: all red pixels first, then the block itself.
    reached = reach(centre_points(), ["r.rr"], objects(["0.11"]))

    assert reached.best.tolist() == [1, 1]
    assert reached.first is not None
    assert reached.first.tolist() == [pytest.approx(1 / 3), pytest.approx(2 / 3)]


def test_every_object_is_asked_for_with_its_own_box() -> None:
    # An L of three blocks fills three of its box's four.
    segmenter = PromptableColours()

    reached = reach(tight_boxes(), ["r..", "rr."], objects(["0.1", "00."]), segmenter)

    assert reached.best.tolist() == [pytest.approx(3 / 4), 1]
    assert segmenter.asked_for[0].box == (0, 0, 2 * BLOCK, 2 * BLOCK)


def test_a_grid_takes_the_best_mask_of_any_point() -> None:
    segmenter = PromptableColours()

    reached = reach(point_grid(4), ["rrgg"] * 4, objects(["0011"] * 2 + ["2233"] * 2), segmenter)

    assert len(segmenter.asked_for) == 16
    assert reached.best.tolist() == [0.5] * 4  # each point shows two objects at once
    assert reached.first is None
