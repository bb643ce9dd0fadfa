import numpy as np
import pytest
from PIL import Image

from lexiseg_model.pictures.decoding import to_rgb
from lexiseg_model.pictures.reader import read
from tests import pictures
from tests.model.pictures.tiffs import tiff

RGB = np.asarray(pictures.small("china"))
HALF = np.zeros(RGB.shape[:2], np.uint8)
HALF[:, : RGB.shape[1] // 2] = 255
OVER_WHITE = np.where(HALF[..., None] > 0, RGB, 255)


def with_alpha(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([RGB, alpha]))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_that_is_transparent_throughout_is_shown_as_its_colours(kind: str) -> None:
    exact = {"lossless": True, "exact": True} if kind == "WEBP" else {"quality": 100} if kind == "AVIF" else {}

    picture = read(pictures.encoded(with_alpha(np.zeros_like(HALF)), kind, **exact))

    assert np.abs(picture.rgb.astype(int) - RGB).mean() < (3 if kind == "AVIF" else 0.01)


def test_one_pixel_that_can_be_seen_makes_the_others_transparent() -> None:
    alpha = np.zeros_like(HALF)
    alpha[-1, -1] = 255

    rgb = to_rgb(with_alpha(alpha))

    assert (rgb != 255).any(2).sum() == 1


@pytest.mark.parametrize("mode", ["LA", "PA", "La", "RGBa"])
def test_every_mode_with_alpha_is_put_over_white(mode: str) -> None:
    through = {"La": "LA", "RGBa": "RGBA"}.get(mode, mode)
    picture = with_alpha(HALF).convert(through).convert(mode)

    rgb = to_rgb(picture)

    assert (rgb[:, HALF[0] == 0] == 255).all()
    assert (rgb[:, HALF[0] > 0] != 255).any()


def test_a_palette_with_a_transparent_colour_is_put_over_white() -> None:
    picture = Image.fromarray(HALF // 255).convert("P")
    picture.putpalette([255, 0, 0, 0, 0, 255])

    rgb = read(pictures.encoded(picture, transparency=0)).rgb

    assert set(map(tuple, rgb.reshape(-1, 3).tolist())) == {(255, 255, 255), (0, 0, 255)}


def test_deep_colours_with_alpha_are_put_over_white() -> None:
    deep = np.dstack([RGB, HALF]).astype(np.float32) / 255

    rgb = read(tiff(deep, photometric="rgb", extrasamples=["unassalpha"])).rgb

    assert np.abs(rgb.astype(int) - OVER_WHITE).max() <= 1


def test_a_transparent_value_of_deep_grey_is_white() -> None:
    grey = np.full((20, 20), 40_000, np.uint16)
    grey[:, :10] = 123

    rgb = read(pictures.encoded(Image.fromarray(grey), transparency=123)).rgb

    assert (rgb[:, :10] == 255).all()
    assert (rgb[:, 10:] == 40_000 >> 8).all()
