"""Outlines of other tools are drawn as pycocotools draws them."""

import pytest

from lexiseg_train.data.annotations.drawing import draw

SIZE = (40, 60)
SQUARE = [5.0, 5.0, 25.0, 5.0, 25.0, 25.0, 5.0, 25.0]


@pytest.mark.parametrize("corners", [[-10.0, 5.0], [70.0, 5.0]])
def test_a_polygon_that_leaves_its_photograph_is_cut(corners: list[float]) -> None:
    assert 0 < draw([[*corners, 25.0, 25.0, 25.0, 5.0]], SIZE).area < 40 * 60


@pytest.mark.parametrize("nested", ["flat", "with a speck"])
def test_polygons_of_other_shapes_are_read(nested: str) -> None:
    segmentation = SQUARE if nested == "flat" else [SQUARE, [1, 1, 2, 2]]

    assert draw(segmentation, SIZE).area == 400
