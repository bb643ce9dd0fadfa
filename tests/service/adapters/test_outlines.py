"""Polygons for tools whose polygons have no holes."""

import numpy as np
from PIL import Image, ImageDraw

from lexiseg_model.types import Ring
from lexiseg_service.adapters.tools import doubled_area, outline


def test_an_outline_leaves_out_the_hole_of_its_part() -> None:
    ring = Ring([0, 0, 60, 0, 60, 60, 0, 60], [[20, 20, 20, 40, 40, 40, 40, 20]])
    drawn = Image.new("1", (60, 60))

    corners = outline(ring)

    ImageDraw.Draw(drawn).polygon([(x, y) for x, y in corners], fill=1)
    assert doubled_area(corners) == 2 * (60 * 60 - 20 * 20)
    assert not np.asarray(drawn)[22:38, 22:38].any()
    assert np.asarray(drawn)[44:58, 2:58].all()
