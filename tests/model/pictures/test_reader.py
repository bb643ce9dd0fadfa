"""Decoding to a size, and what the reader does where a gateway has neither simplejpeg nor OpenCV."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.errors import UnsupportedPictureError
from lexiseg_model.pictures.reader import read
from tests import pictures
from tests.model.pictures.tiffs import tiff


@pytest.fixture
def without_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("simplejpeg", "cv2"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("short_side", [None, 100])
def test_a_jpeg_has_the_same_pixels(short_side: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    content = pictures.turned(pictures.photograph("china").resize((640, 400)), 6, "JPEG")
    quick = read(content, short_side)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)

    picture = read(content, short_side)

    assert picture.size == quick.size == (640, 400)
    assert short_side or np.array_equal(picture.rgb, quick.rgb)


@pytest.mark.parametrize(("side", "orientation"), [(230, 1), (399, 6), (401, 1), (803, 8), (1701, 1)])
def test_a_large_jpeg_has_the_pixels_of_its_png(side: int, orientation: int) -> None:
    photograph = pictures.photograph("china").resize((round(1.5 * side), side))
    jpeg = pictures.turned(photograph, orientation, "JPEG")
    with Image.open(io.BytesIO(jpeg)) as decoded:
        png = pictures.turned(decoded, orientation, "PNG")

    one, other = (read(content, 100) for content in (jpeg, png))

    assert one.size == other.size
    assert one.rgb.shape == other.rgb.shape
    assert min(side, 100) <= min(one.rgb.shape[:2]) < 200
    assert np.abs(one.rgb.astype(int) - other.rgb).mean() < (1 if side >= 400 else 1e-9)


@pytest.mark.usefixtures("without_decoders")
def test_colours_that_opencv_alone_decodes_are_refused_in_words() -> None:
    content = tiff(np.zeros((20, 20, 3), np.float32), photometric="rgb")

    with pytest.raises(UnsupportedPictureError, match="save them in 8 bits"):
        read(content)


@pytest.mark.usefixtures("without_decoders")
def test_deep_grey_needs_neither() -> None:
    assert read(pictures.encoded(pictures.sixteen_bit(64))).rgb[0, -1].tolist() == [255, 255, 255]
