"""What may stand for an image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from lexiseg_client import ImageId, ImageUrl, UnusableImage
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


def test_an_open_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "china.jpg"
    path.write_bytes(JPEG)

    with path.open("rb") as file:
        assert load(file) == load(io.BytesIO(JPEG)) == Upload.of(JPEG)
    with pytest.raises(UnusableImage, match="binary mode"):
        load(io.StringIO("text"))  # type: ignore[arg-type]


def test_a_url_and_an_id_are_not_opened() -> None:
    assert load("https://example.org/cat.jpg") == ImageUrl("https://example.org/cat.jpg")
    assert load(ImageId("1")) == ImageId("1")


def test_pixels_arrive_without_loss() -> None:
    pixels = np.asarray(pictures.small("flower"))

    for image in (pixels, pixels[::2, ::3], pixels[..., 0], np.asfortranarray(pixels)):
        assert np.array_equal(np.asarray(sent(image)), image)


def test_a_mask_arrives_as_black_and_white() -> None:
    assert np.array_equal(np.asarray(sent(np.eye(20, dtype=bool))), 255 * np.eye(20))


@pytest.mark.parametrize("mode", ["P", "CMYK", "L", "RGBA", "1", "YCbCr"])
def test_an_image_of_pillow_arrives_in_its_colours(mode: str) -> None:
    picture = pictures.small("flower").convert(mode)

    assert np.array_equal(np.asarray(sent(picture).convert("RGB")), np.asarray(picture.convert("RGB")))


def test_a_turned_image_of_pillow_arrives_as_its_pixels_lie() -> None:
    with Image.open(io.BytesIO(pictures.turned(pictures.small("china"), 6, "JPEG"))) as picture:
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(sent(picture))), np.asarray(picture))


@pytest.mark.parametrize("shape", [(4,), (4, 4, 5), (0, 4), (1, 4, 4, 3)])
def test_an_array_of_another_shape_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnusableImage, match="expected \\[H, W\\]"):
        load(np.zeros(shape, np.uint8))


def test_fractions_are_no_pixels() -> None:
    with pytest.raises(UnusableImage, match="float64"):
        load(np.zeros((4, 4)))


def test_other_things_are_no_image(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()

    for image in (None, 7, ["cat.jpg"], b""):
        with pytest.raises(UnusableImage):
            load(image)  # type: ignore[arg-type]
    with pytest.raises(UnusableImage):
        load(tmp_path / "empty.jpg")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.jpg")
