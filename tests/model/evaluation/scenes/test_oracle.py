"""Prompts for objects, and the IoU of the answers of a model whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from lexiseg_model.data.scenes import Objects
from lexiseg_model.evaluation.scenes import oracle
from lexiseg_model.evaluation.scenes.judges import encode
from lexiseg_model.evaluation.scenes.oracle import (
    PromptProtocol,
    Reached,
    centre_points,
    deepest_point,
    grid_points,
    point_grid,
    tight_box,
    tight_boxes,
)
from lexiseg_model.features import Features
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.types import Point, Prompt
from tests.model.evaluation.scenes.promptable import BLOCK, PromptableColours, blocks, objects


def mask_of(*rows: str) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.array([[cell == "#" for cell in row] for row in rows])


def reach(
    protocol: PromptProtocol, rows: list[str], of: Objects, segmenter: PromptableColours | None = None
) -> Reached:
    segmenter = segmenter or PromptableColours()
    return protocol.reach(segmenter, encode(segmenter, blocks(rows)), of)


def test_the_deepest_point_is_the_centre_of_a_square() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[5:14, 10:19] = True

    assert deepest_point(mask) == Point(14.5, 9.5)


def test_the_deepest_point_lies_on_an_object_whose_middle_is_empty() -> None:
    mask = mask_of("#######.", "##...##.", "##...##.", "#######.")

    point = deepest_point(mask)

    assert mask[int(point.y), int(point.x)]


def test_a_box_goes_around_the_outer_edges_of_the_pixels() -> None:
    assert tight_box(mask_of("....", ".##.", "..#.", "....")) == (1, 1, 3, 3)
    assert tight_box(mask_of("#")) == (0, 0, 1, 1)


def test_grid_points_are_the_middles_of_equal_cells_row_by_row() -> None:
    assert grid_points(2, (4, 8)) == [Point(2, 1), Point(6, 1), Point(2, 3), Point(6, 3)]
    assert len(grid_points(20, (1024, 1024))) == 400


def test_the_best_of_a_points_masks_counts_and_the_first_is_told() -> None:
    # A point on one red block: all red pixels first, then the block itself.
    reached = reach(centre_points(), ["r.rr"], objects(["0.11"]))

    assert reached.best.tolist() == [1, 1]
    assert reached.first is not None
    assert reached.first.tolist() == [pytest.approx(1 / 3), pytest.approx(2 / 3)]


def test_every_object_is_asked_for_with_its_own_point() -> None:
    segmenter = PromptableColours()

    reach(centre_points(), ["r.gg"], objects(["0.11"]), segmenter)

    (one,), (two,) = (prompt.points for prompt in segmenter.asked_for)
    assert (int(one.x // BLOCK), int(two.x // BLOCK)) == (0, 2)


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


@pytest.mark.parametrize("protocol", [centre_points(), tight_boxes(), point_grid(5)])
def test_figures_do_not_depend_on_how_many_are_done_at_once(
    protocol: PromptProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, of = ["rgr.", "ggrb", "brrb"], objects(["0102", "1103", "4003"])
    before = reach(protocol, rows, of)

    monkeypatch.setattr(oracle, "PROMPTS_AT_ONCE", 2)
    monkeypatch.setattr(oracle, "PIXELS_AT_ONCE", 1)

    assert reach(protocol, rows, of).best.tolist() == before.best.tolist()


def test_masks_of_a_method_are_brought_to_the_photographs_size() -> None:
    class Coarse(PromptableColours):
        def prompt(self, features: Features, prompts: list[Prompt]) -> list[PromptMasks]:  # type: ignore[override]
            return [
                PromptMasks(answer.masks[:, ::BLOCK, ::BLOCK].half(), answer.quality)
                for answer in super().prompt(features, prompts)
            ]

    reached = reach(centre_points(), ["rrrggg"] * 4, objects(["000111"] * 4), Coarse())

    assert reached.best.tolist() == [1, 1]
