"""PNG files, against Pillow and OpenCV."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from lexiseg_client import UnreadableAnswer
from lexiseg_client.masks import png
from tests import pictures

GRAY = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda kind: arrays(kind, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))
)
FILTERS = {name: getattr(cv2, f"IMWRITE_PNG_FILTER_{name}") for name in ("NONE", "SUB", "UP", "AVG", "PAETH")} | {
    "ALL": cv2.IMWRITE_PNG_ALL_FILTERS
}


def opened(content: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


@given(GRAY, st.sampled_from(sorted(FILTERS)))
def test_any_gray_picture_of_any_filter_is_read(pixels: NDArray[Any], name: str) -> None:
    _, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_FILTER, FILTERS[name]])

    found = png.decode_gray(content.tobytes())

    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels)


@given(GRAY)
def test_what_is_written_can_be_read(pixels: NDArray[Any]) -> None:
    written = png.encode(pixels)

    assert np.array_equal(png.decode_gray(written), pixels)
    assert np.array_equal(opened(written), pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_pixels_are_written_without_loss(mode: str) -> None:
    pixels = np.asarray(pictures.small("flower", 77).convert(mode))

    assert np.array_equal(opened(png.encode(pixels)), pixels)


def test_a_damaged_or_coloured_file_is_no_map() -> None:
    whole = png.encode(np.arange(64, dtype=np.uint8).reshape(8, 8))
    coloured = pictures.encoded(pictures.small("china", 32))
    flipped = whole[:45] + bytes([whole[45] ^ 1]) + whole[46:]

    for content in (b"", b"GIF89a", whole[:-20], flipped, coloured):
        with pytest.raises(UnreadableAnswer):
            png.decode_gray(content)
