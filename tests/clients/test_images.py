"""What may stand for an image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_client import UnusableImage
from lexiseg_client.images import ImageLike, Upload, load
from tests import pictures

JPEG = pictures.encoded(pictures.small("china"), "JPEG")


def sent(image: ImageLike) -> Image.Image:
    source = load(image)
    assert isinstance(source, Upload)
    return Image.open(io.BytesIO(source.content))


def test_a_path_and_bytes_are_sent_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "china.jpg"
    path.write_bytes(JPEG)

    assert load(path) == load(str(path)) == load(JPEG) == load(memoryview(JPEG)) == Upload.of(JPEG)


def test_pixels_arrive_without_loss() -> None:
    pixels = np.asarray(pictures.small("flower"))

    for image in (pixels, pixels[::2, ::3], pixels[..., 0], np.asfortranarray(pixels)):
        assert np.array_equal(np.asarray(sent(image)), image)


@pytest.mark.parametrize("mode", ["P", "CMYK", "L", "RGBA", "1", "YCbCr"])
def test_an_image_of_pillow_arrives_in_its_colours(mode: str) -> None:
    picture = pictures.small("flower").convert(mode)

    assert np.array_equal(np.asarray(sent(picture).convert("RGB")), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("shape", [(4,), (4, 4, 5), (0, 4), (1, 4, 4, 3)])
def test_an_array_of_another_shape_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnusableImage, match="expected \\[H, W\\]"):
        load(np.zeros(shape, np.uint8))


def test_other_things_are_no_image(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()

    for image in (None, 7, ["cat.jpg"], b""):
        with pytest.raises(UnusableImage):
            load(image)  # type: ignore[arg-type]
    with pytest.raises(UnusableImage):
        load(tmp_path / "empty.jpg")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.jpg")
