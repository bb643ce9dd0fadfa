from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.errors import ShapeError
from lexiseg_model.methods.unpair_seg.canvas import (
    Canvas,
    canvas_to_image,
    drawn,
    image_to_canvas,
    lay_out,
    picture_size,
)
from lexiseg_model.methods.unpair_seg.proposals import grid_points
from lexiseg_model.methods.unpair_seg.settings import Padding


def test_the_longer_side_is_filled_and_the_rest_is_grey() -> None:
    canvas = lay_out((60, 100), 128)

    tile = drawn(np.full((60, 100, 3), 7, np.uint8), canvas)

    assert canvas == Canvas((128, 128), (76, 128))
    assert tile.shape == (3, 128, 128)
    assert (tile[:, :76] == 7).all()
    assert (tile[:, 76:] == 128).all()


def test_as_released_sides_are_whole_pixels() -> None:
    assert lay_out((300, 431), 1024, mode="released").inside == (713, 1024)
    assert lay_out((300, 431), 1024).inside == (712, 1024)


def test_padding_to_multiples_spares_most_of_it() -> None:
    assert lay_out((60, 200), 1024, "multiple") == Canvas((320, 1024), (308, 1024))
    assert lay_out((1, 4000), 1024, "multiple") == Canvas((32, 1024), (4, 1024))


@pytest.mark.parametrize("padding", ["square", "multiple"])
@pytest.mark.parametrize("size", [(60, 200), (200, 60), (3, 5)])
def test_the_grid_lies_over_the_image_however_it_is_padded(padding: Padding, size: tuple[int, int]) -> None:
    canvas = lay_out(size, 512, padding)

    points = grid_points(4, size, canvas.size)

    fill = points / torch.tensor([canvas.inside[1], canvas.inside[0]])
    torch.testing.assert_close(fill.amax(0), torch.tensor([0.875, 0.875]), atol=0.25, rtol=0)
    assert (fill > 0).all()
    assert (fill < 1).all()


def test_masks_are_cut_to_the_image_and_put_back() -> None:
    canvas = Canvas((64, 64), (40, 64))
    masks = torch.randn(2, 16, 16)

    cut = canvas_to_image(masks, canvas)
    back = image_to_canvas(cut, canvas)

    assert cut.shape == (2, 10, 16)
    assert torch.equal(back[:, :10], masks[:, :10])
    assert (back[:, 10:] < -5).all()


def test_a_cut_between_cells_finds_the_values_between() -> None:
    canvas = Canvas((64, 64), (42, 64))  # ten and a half cells
    ramp = (torch.arange(16.0) + 0.5)[None, :, None].expand(1, -1, 16)

    cut = canvas_to_image(ramp, canvas)

    expected = (torch.arange(10) + 0.5) * 1.05
    torch.testing.assert_close(cut[0, :, 0], expected)


def test_no_masks_are_cut_and_put_back_as_none() -> None:
    for inside in ((40, 64), (42, 64)):
        canvas = Canvas((64, 64), inside)
        assert canvas_to_image(torch.zeros(0, 16, 16), canvas).shape == (0, 10, 16)
        assert image_to_canvas(torch.zeros(0, 7, 9), canvas).shape == (0, 16, 16)


def test_masks_of_any_resolution_come_upon_the_canvas() -> None:
    canvas = Canvas((64, 64), (32, 64))
    masks = torch.full((1, 3, 6), -4.0)
    masks[:, :, :3] = 4  # the left half

    found = image_to_canvas(masks, canvas) > 0

    assert found.shape == (1, 16, 16)
    assert found[0, :8, :8].all()
    assert not found[0, 8:].any()
    assert not found[0, :, 8:].any()


@pytest.mark.parametrize(
    "rgb", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 0, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(rgb: NDArray[Any]) -> None:
    with pytest.raises(ShapeError, match="expected uint8"):
        picture_size(rgb)
