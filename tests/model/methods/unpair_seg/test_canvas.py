from __future__ import annotations

import numpy as np
import pytest
import torch

from lexiseg_model.methods.unpair_seg.canvas import (
    Canvas,
    canvas_to_image,
    drawn,
    image_to_canvas,
    lay_out,
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
