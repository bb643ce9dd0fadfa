import io

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lexiseg_service.errors import TooLarge, UndecodableImage
from lexiseg_service.image.reader import decode, read_header
from lexiseg_service.settings import Limits
from tests import pictures

LIMITS = Limits()
WHOLE = 10_000  # a shortest side beyond every test image: nothing is scaled


def decoded(image: bytes) -> NDArray[np.uint8]:
    return decode(image, LIMITS, WHOLE).rgb


def as_pillow_shows(image: bytes) -> NDArray[np.uint8]:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(image))).convert("RGB"))


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize(("kind", "most"), [("PNG", 0), ("TIFF", 0), ("JPEG", 2)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_undone_as_pillow_does(orientation: int, kind: str, most: float) -> None:
    image = pictures.turned(pictures.small("astronaut").resize((40, 30)), orientation, kind)

    assert difference(decoded(image), as_pillow_shows(image)) <= most


def test_a_large_turned_jpeg_is_decoded_smaller_but_keeps_its_size() -> None:
    image = pictures.turned(pictures.photograph("china").resize((1280, 640)), 6, "JPEG")

    found = decode(image, LIMITS, 160)

    assert found.size == (1280, 640)
    assert found.rgb.shape == (320, 160, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_a_header_that_has_been_read_is_not_read_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pictures.turned(pictures.small().resize((64, 32)), 6, kind)
    whole, header = decode(image, LIMITS, WHOLE), read_header(image, LIMITS)
    monkeypatch.setattr("lexiseg_service.image.reader.read_header", lambda *_: pytest.fail("read again"))

    again = decode(image, LIMITS, WHOLE, header)

    assert again.size == whole.size == (64, 32)
    assert np.array_equal(again.rgb, whole.rgb)


def test_a_header_that_has_been_read_is_compared_with_the_worker_s_own_limits() -> None:
    image = pictures.encoded(pictures.small())

    with pytest.raises(TooLarge):
        decode(image, Limits(max_pixels=99), WHOLE, read_header(image, LIMITS))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_damaged_jpeg_that_can_be_seen_is_decoded_smaller_too(orientation: int) -> None:
    whole = pictures.turned(pictures.photograph("china").resize((1280, 640)), orientation, "JPEG")
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(8) + whole[middle + 8 :]
    with pytest.raises(ValueError, match="orrupt"):
        simplejpeg.decode_jpeg(damaged)

    found, sound = (decode(image, LIMITS, 160) for image in (damaged, whole))

    assert found.size == sound.size
    assert found.rgb.shape == sound.rgb.shape
    alike = np.abs(found.rgb.astype(int) - sound.rgb.astype(int)).max(2) < 8
    assert alike.mean() > 0.4  # up to where it is damaged
    assert decode(damaged, LIMITS, None).rgb.shape[:2] == found.size


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA"])
def test_every_mode_of_png_becomes_rgb(mode: str) -> None:
    image = pictures.encoded(pictures.small("flower").convert(mode))

    assert np.array_equal(decoded(image), as_pillow_shows(image))


def test_a_cmyk_jpeg_has_the_colours_that_it_shows() -> None:
    picture = Image.new("RGB", (32, 32), (200, 30, 30))

    rgb = decoded(pictures.encoded(picture.convert("CMYK"), "JPEG", quality=95))

    assert difference(rgb, np.asarray(picture)) < 6


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight_by_their_upper_half(kind: str) -> None:
    image = pictures.encoded(pictures.sixteen_bit(64), kind)

    assert np.array_equal(decoded(image)[0, :, 0], np.linspace(0, 65535, 64).astype(np.uint16) >> 8)


def test_what_is_transparent_becomes_white() -> None:
    picture = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 16, 32))

    rgb = decoded(pictures.encoded(picture))

    assert tuple(rgb[0, 0]) == (255, 0, 0)
    assert tuple(rgb[0, 31]) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "HEIF"])
def test_a_file_cut_short_is_undecodable(kind: str) -> None:
    photograph = pictures.photograph("chelsea")
    whole = pictures.heic(photograph) if kind == "HEIF" else pictures.encoded(photograph, kind)

    with pytest.raises(UndecodableImage, match=r"^image: "):
        decoded(whole[: len(whole) * 2 // 3])


def test_a_png_of_other_bytes_is_undecodable() -> None:
    image = pictures.png_of(64, 64, pictures.png_chunk(b"IDAT", b"no deflate stream"))

    with pytest.raises(UndecodableImage, match=r"^image: PNG"):
        decoded(image)


@pytest.mark.parametrize("orientation", [None, 2, 3, 6, 8])
def test_a_heic_comes_as_it_is_shown(orientation: int | None) -> None:
    picture = pictures.small("astronaut").resize((40, 30))
    with Image.open(io.BytesIO(pictures.turned(picture, orientation or 1, "JPEG"))) as reference:
        expected = np.asarray(ImageOps.exif_transpose(reference), int)

    pixels = decoded(pictures.heic(picture, orientation)).astype(int)

    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 8


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_data_of_another_size_than_the_file_says_is_never_taken_as_it(kind: str) -> None:
    picture = pictures.small("china").resize((640, 480))
    whole = pictures.heic(picture) if kind == "HEIF" else pictures.encoded(picture, kind)

    try:
        pixels = decoded(pictures.with_size(whole, 64, 64))
    except UndecodableImage:
        return
    assert pixels.shape == (64, 64, 3)
