"""What a notebook shows of an answer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_client import Client
from lexiseg_client.answers.masks import NotAsked
from tests import pictures
from tests.clients.answers.made import MASKS, SIZE, answer, segment

GREEN = (10, 200, 30)


def shown(png: bytes | None) -> NDArray[np.uint8]:
    assert png is not None
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


def forms(folder: Path) -> dict[str, object]:
    picture = Image.new("RGB", SIZE[::-1], GREEN)
    sideways = picture.transpose(Image.Transpose.ROTATE_90)
    (folder / "turned.png").write_bytes(pictures.turned(sideways, 6))
    return {
        "array": np.asarray(picture),
        "Pillow": picture,
        "bytes": pictures.encoded(picture),
        "path, turned by EXIF": folder / "turned.png",
    }


def test_segments_are_painted_on_the_image_wherever_it_is(tmp_path: Path) -> None:
    for name, image in forms(tmp_path).items():
        pixels = shown(answer(image=image)._repr_png_())

        assert pixels.shape == (*SIZE, 3), name
        assert tuple(pixels[1, 1]) == GREEN, name
        assert tuple(pixels[20, 15]) != GREEN, name


@pytest.mark.parametrize("image", [None, "gone.jpg", b"nothing", np.zeros((3, 3, 3), np.uint8), "https://x/y.jpg"])
def test_without_its_image_an_answer_is_painted_on_white(image: object) -> None:
    assert tuple(shown(answer(image=image)._repr_png_())[1, 1]) == (255, 255, 255)


def test_a_picture_by_the_server_goes_first() -> None:
    assert answer(overlay=b"theirs")._repr_png_() == b"theirs"


def test_an_answer_without_masks_shows_no_picture() -> None:
    bare = segment(0, "x", MASKS["frame"])

    assert answer(segments=(type(bare)(**{**vars(bare), "shape": NotAsked()}),))._repr_png_() is None


def test_a_large_image_is_shown_smaller() -> None:
    large = answer(size=(40, 3000), segments=())

    assert shown(large._repr_png_()).shape[1] <= 1280


def test_what_a_client_asks_is_what_is_shown(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "china.jpg"
    path.write_bytes(pictures.encoded(pictures.small("china", 200), "JPEG"))

    found = client.segment(path, ["sky"])

    assert found.image is path
    assert shown(found._repr_png_()).shape == (*found.size, 3)
    assert not (shown(found._repr_png_()) == 255).all()
