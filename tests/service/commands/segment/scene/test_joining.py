"""Masks that windows cut are joined: of known masks, without a model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio.features
from numpy.typing import NDArray

from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.types import Segment
from lexiseg_service.commands.segment.scene.finding import pieces_of
from lexiseg_service.commands.segment.scene.grid import Grid
from lexiseg_service.commands.segment.scene.joining import Roots, Seams
from lexiseg_service.commands.segment.scene.keeping import Kept, Object

SIZE = (150, 210)
GRID = Grid(SIZE, 64, 16)


def joined(masks: list[NDArray[np.bool_]], tmp_path: Path, *, apart: bool) -> list[Object]:
    """What comes of masks over the whole picture, each of its own class, that windows see parts of.

    Of objects each connected part that a window sees is a segment of its own, as a model would have it.
    """
    roots = Roots()
    seams = Seams(roots)
    kept = Kept(tmp_path / "pieces")
    try:
        for cell in GRID.cells():
            segments = []
            for index, mask in enumerate(masks):
                seen = mask[cell.window.top : cell.window.bottom, cell.window.left : cell.window.right]
                count, parts = cv2.connectedComponents(seen.astype(np.uint8), connectivity=4)
                for one in [parts == part for part in range(1, count)] if apart else [seen]:
                    segments.append(Segment(1, "one", index, 0.5, encode_mask(one), is_thing=apart or None))
            answered = pieces_of(cell, segments, np.ones(cell.window.size, bool), roots, apart=apart)
            seams.add(answered.pieces)
            kept.add(answered.found)
        return list(kept.objects(roots.joined(), 1))
    finally:
        kept.close()


def drawn(found: Object) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = rasterio.features.rasterize([found.outline], SIZE) > 0
    return mask


@pytest.mark.parametrize("apart", [False, True])
def test_a_mask_over_many_windows_is_one_object_pixel_for_pixel(tmp_path: Path, apart: bool) -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    ring = np.abs(np.hypot(y - 75, x - 105) - 50) < 12

    (found,) = joined([ring], tmp_path, apart=apart)

    assert np.array_equal(drawn(found), ring)
    assert found.area == ring.sum()
    assert len(found.outline.geoms) == 1
    assert len(found.outline.geoms[0].interiors) == 1
    assert found.score == pytest.approx(0.5)


def test_regions_that_only_meet_at_a_corner_stay_apart(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, bool)
    corner = GRID.stride
    mask[corner - 10 : corner, corner - 10 : corner] = mask[corner : corner + 10, corner : corner + 10] = True

    assert len(joined([mask], tmp_path, apart=False)) == 2


def test_regions_are_the_connected_ones_of_the_whole_picture(tmp_path: Path) -> None:

    noise = np.random.default_rng(0).random(SIZE) < 0.55
    parts, _ = cv2.connectedComponents(noise.astype(np.uint8), connectivity=4)
    rest, _ = cv2.connectedComponents((~noise).astype(np.uint8), connectivity=4)

    found = joined([noise, ~noise], tmp_path, apart=False)

    assert len(found) == parts - 1 + rest - 1
    assert sum(each.area for each in found) == SIZE[0] * SIZE[1]


def test_neighbours_of_different_classes_are_not_joined(tmp_path: Path) -> None:
    left = np.zeros(SIZE, bool)
    left[:, : GRID.stride] = True

    found = joined([left, ~left], tmp_path, apart=False)

    assert sorted(each.class_index for each in found) == [0, 1]
    assert [np.array_equal(drawn(each), (left, ~left)[each.class_index]) for each in found] == [True, True]


def test_objects_that_share_nothing_in_the_strip_stay_apart(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, bool)
    mask[20:30, 10 : GRID.stride - 10] = mask[20:30, GRID.stride + 10 : GRID.stride + 30] = True

    assert len(joined([mask], tmp_path, apart=True)) == 2
