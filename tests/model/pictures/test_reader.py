"""Decoding to a size, and what the reader does where a gateway has neither simplejpeg nor OpenCV; orientation."""

import io
import struct
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lexiseg_model.errors import DamagedPictureError, UnsupportedPictureError
from lexiseg_model.pictures.decoding import to_eight_bits, to_rgb
from lexiseg_model.pictures.header import exif_orientation, read_header, upright, upright_size
from lexiseg_model.pictures.reader import Picture, read
from lexiseg_model.pictures.tiff import ORIENTATION
from tests import pictures
from tests.model.pictures.tiffs import by_hand, packed, tiff


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
    photograph = pictures.photograph("china").resize((round(1.1 * side), side))
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


GREY = np.asarray(pictures.small("china").convert("L")).copy()
GREY.flat[:2] = 0, 255  # all of the range
WIDE = GREY.astype(np.uint16)
RGB = np.asarray(pictures.small("china")).copy()
RGB[0, 0], RGB[0, 1] = 0, 255


def difference(picture: Picture, expected: NDArray[np.uint8]) -> int:
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, 2)
    assert picture.rgb.shape == expected.shape
    return int(np.abs(picture.rgb.astype(int) - expected).max())


KNOWN = {
    "16 bits": tiff(WIDE * 257, photometric="minisblack"),
    "16 bits, big-endian": tiff(WIDE * 257, photometric="minisblack", order=">"),
    "10 bits": packed(WIDE << 2, 10),
    "12 bits": packed(WIDE << 4, 12),
    "12 bits, big-endian": packed(WIDE << 4, 12, ">"),
    "14 bits": packed(WIDE << 6, 14),
    "16 bits, white is zero": tiff(65535 - WIDE * 257, photometric="miniswhite"),
    "16 bits, white is zero, big-endian": tiff(65535 - WIDE * 257, photometric="miniswhite", order=">"),
    "8 bits, white is zero": tiff(255 - GREY, photometric="miniswhite"),
    "32 bits": tiff(WIDE.astype(np.uint32) * 0x1010101, photometric="minisblack"),
    "float": tiff((GREY / 255).astype(np.float32), photometric="minisblack"),
    "float, white is zero": tiff((1 - GREY / 255).astype(np.float32), photometric="miniswhite"),
    "double": tiff(GREY / 255, photometric="minisblack"),
    "PNG of 16 bits": pictures.encoded(Image.fromarray(WIDE * 257)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_header_says_what_is_black_and_white(name: str) -> None:
    picture = read(KNOWN[name])

    assert picture.notes == ()
    assert difference(picture, GREY) <= 1


GUESSED = {
    "16 bits that hold 12": tiff(WIDE << 4, photometric="minisblack"),
    "16 bits that hold 8": tiff(WIDE, photometric="minisblack"),
    "PNG of 16 bits that hold 12": pictures.encoded(Image.fromarray(WIDE << 4)),
    "12 bits that hold 8": packed(WIDE, 12),
    "32 bits that hold 8": tiff(WIDE.astype(np.uint32), photometric="minisblack"),
    "int16": tiff(GREY.astype(np.int16), photometric="minisblack"),
    "int16 below 0": tiff(GREY.astype(np.int16) - 1000, photometric="minisblack"),
    "int32": tiff(GREY.astype(np.int32), photometric="minisblack"),
    "float to 255": tiff(GREY.astype(np.float32), photometric="minisblack"),
    "float of kelvins": tiff((GREY / 10 + 280).astype(np.float32), photometric="minisblack"),
    "float that holds little": tiff((GREY / 255e3).astype(np.float32), photometric="minisblack"),
}


@pytest.mark.parametrize("name", GUESSED)
def test_values_of_which_the_header_says_nothing_are_stretched_with_a_note(name: str) -> None:
    picture = read(GUESSED[name])

    assert len(picture.notes) == 1
    assert "were stretched to 0 to 255" in picture.notes[0].text
    assert difference(picture, GREY) <= 1


COLOURS = {
    "16 bits": (tiff(RGB.astype(np.uint16) * 257, photometric="rgb"), False),
    "16 bits that hold 12": (tiff(RGB.astype(np.uint16) << 4, photometric="rgb"), True),
    "16 bits that hold 8, deflated": (tiff(RGB.astype(np.uint16), photometric="rgb", compression="zlib"), True),
    "float": (tiff((RGB / 255).astype(np.float32), photometric="rgb"), False),
    "double, turned": (tiff(np.rot90(RGB / 255), photometric="rgb", extratags=[(274, "H", 1, 6, True)]), False),
    "int16": (tiff(RGB.astype(np.int16), photometric="rgb"), True),
    "32 bits": (tiff(RGB.astype(np.uint32) * 0x1010101, photometric="rgb"), False),
}


@pytest.mark.parametrize("name", COLOURS)
def test_deep_colours_are_scaled_as_grey_is(name: str) -> None:
    content, guessed = COLOURS[name]

    picture = read(content)

    assert bool(picture.notes) == guessed
    assert difference(picture, RGB) <= 1


def test_deep_colours_of_a_later_page_are_that_page() -> None:
    pages = [(pixels / 255).astype(np.float32) for pixels in (RGB[::4, ::4], RGB)]

    picture = read(tiff(*pages, subfiles=(1, 0), photometric="rgb"))

    assert difference(picture, RGB) <= 1


def test_what_is_no_number_is_the_lowest_value() -> None:
    values = np.array([[np.nan, 10, 20, np.inf, -np.inf]], np.float32)

    assert to_eight_bits(values, 1.0)[0].tolist() == [[0, 0, 255, 255, 0]]


@pytest.mark.parametrize("value", [0, 7, np.nan])
def test_a_picture_of_one_value_is_no_division_by_zero(value: float) -> None:
    for kind in (np.float32, np.float64):
        assert np.ptp(to_eight_bits(np.full((4, 4), value, kind), 1.0)[0]) == 0


REFUSED = {
    "floats of 16 bits": tiff((RGB / 255).astype(np.float16), photometric="rgb"),
    "3 bands without colours": tiff(RGB, photometric="minisblack", planarconfig="contig"),
    "deep samples in separate planes": tiff(
        RGB.transpose(2, 0, 1).astype(np.float32), photometric="rgb", planarconfig="separate"
    ),
    "LERC compression": by_hand(bytes(900), {256: (30,), 257: (30,), 258: (8,), 259: (34887,), 262: (1,), 278: (30,)}),
    "tiles of 104,857,856 pixels": tiff(RGB, photometric="rgb", tile=(16, 16)).replace(
        struct.pack("<HHII", 323, 4, 1, 16), struct.pack("<HHII", 323, 4, 1, 6_553_616)
    ),
    "1220 MiB of deep samples": by_hand(
        b"", {256: (8000,), 257: (20_000,), 258: (64,), 262: (1,), 277: (1,), 339: (3,)}
    ),
    "CIELAB colours": tiff(RGB, photometric="cielab"),
    "number 60000 compression": by_hand(bytes(900), {256: (30,), 257: (30,), 258: (8,), 259: (60000,), 262: (1,)}),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_kind_of_tiff_that_cannot_be_read_is_named(kind: str) -> None:
    with pytest.raises(UnsupportedPictureError, match=f"a TIFF with {kind} is not taken"):
        read(REFUSED[kind])


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.float64])
def test_deep_colours_that_are_cut_short_are_damaged(kind: type[np.generic]) -> None:
    top = 65535 if kind is np.uint16 else 1
    whole = tiff((RGB / 255 * top).astype(kind), photometric="rgb", compression="zlib")

    with pytest.raises(DamagedPictureError):
        read(whole[: len(whole) // 2])


PLAIN = np.asarray(pictures.small("china"))
HALF = np.zeros(PLAIN.shape[:2], np.uint8)
HALF[:, : PLAIN.shape[1] // 2] = 255
OVER_WHITE = np.where(HALF[..., None] > 0, PLAIN, 255)


def with_alpha(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([PLAIN, alpha]))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_that_is_transparent_throughout_is_shown_as_its_colours(kind: str) -> None:
    exact = {"lossless": True, "exact": True} if kind == "WEBP" else {"quality": 100} if kind == "AVIF" else {}

    picture = read(pictures.encoded(with_alpha(np.zeros_like(HALF)), kind, **exact))

    assert np.abs(picture.rgb.astype(int) - PLAIN).mean() < (3 if kind == "AVIF" else 0.01)


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
    deep = np.dstack([PLAIN, HALF]).astype(np.float32) / 255

    rgb = read(tiff(deep, photometric="rgb", extrasamples=["unassalpha"])).rgb

    assert np.abs(rgb.astype(int) - OVER_WHITE).max() <= 1


def test_a_transparent_value_of_deep_grey_is_white() -> None:
    grey = np.full((20, 20), 40_000, np.uint16)
    grey[:, :10] = 123

    rgb = read(pictures.encoded(Image.fromarray(grey), transparency=123)).rgb

    assert (rgb[:, :10] == 255).all()
    assert (rgb[:, 10:] == 40_000 >> 8).all()


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
