"""PNG files of maps and pictures hold exactly what was put in."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.masks.png import to_png


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_map_keeps_its_values_and_depth(dtype: type[np.uint8] | type[np.uint16]) -> None:
    values: NDArray[np.unsignedinteger] = np.array([[0, 40, 80], [120, 160, 255]]).astype(dtype)

    with Image.open(io.BytesIO(to_png(values))) as picture:
        assert np.array_equal(np.asarray(picture), values)


def test_a_picture_keeps_its_channel_order() -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255

    with Image.open(io.BytesIO(to_png(red))) as picture:
        assert picture.getpixel((0, 0)) == (255, 0, 0)
