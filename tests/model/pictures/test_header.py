import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from lexiseg_model.pictures.header import exif_orientation, read_header, upright, upright_size
from lexiseg_model.pictures.tiff import ORIENTATION
from tests import pictures


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_pixels_are_turned_as_pillow_turns_them(orientation: int) -> None:
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    picture = Image.fromarray(stored)
    picture.getexif()[ORIENTATION] = orientation

    shown = upright(stored, orientation)

    assert np.array_equal(shown, np.asarray(ImageOps.exif_transpose(picture)))
    assert shown.shape[:2] == upright_size((2, 3), orientation)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_value_that_exif_does_not_know_means_as_stored(value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value

    assert exif_orientation(exif.tobytes()) == 1


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0neither"])
def test_exif_that_cannot_be_read_means_as_stored(exif: bytes) -> None:
    assert exif_orientation(exif) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_xmp_alone_turns_nothing(kind: str) -> None:
    content = pictures.turned_by_xmp(pictures.small().resize((40, 30)), 6, kind)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.getexif()[ORIENTATION] == 6  # as Pillow understands it

    assert read_header(content).size == (30, 40)
