"""Sizes of ordinary PNG and WebP files, told without a decoder, are those that Pillow tells."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from lexiseg_service.image.header import read_at_once, read_header
from lexiseg_service.image.plain_pictures import plain_png_size, plain_webp_size
from lexiseg_service.settings import Limits
from tests import pictures

LIMITS = Limits()
PICTURE = pictures.small("china").resize((41, 30))
WRITTEN: list[tuple[str, str, dict[str, Any]]] = [
    *[("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")],
    ("PNG", "RGB", {"icc_profile": bytes(300), "dpi": (72, 72)}),
    ("PNG", "P", {"transparency": 3}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGB", {"lossless": True}),
    ("WEBP", "RGBA", {"lossless": True, "exact": True}),
    ("WEBP", "RGB", {"icc_profile": bytes(300)}),
]


@pytest.mark.parametrize(("kind", "mode", "how"), WRITTEN)
def test_sizes_are_those_that_pillow_tells(kind: str, mode: str, how: dict[str, Any]) -> None:
    image = pictures.encoded(PICTURE.convert(mode), kind, **how)

    header = read_at_once(image, LIMITS)

    with Image.open(io.BytesIO(image)) as picture:
        assert header is not None
        assert (header.format, header.size[::-1]) == (picture.format, picture.size)


def test_a_webp_that_may_be_seen_through_is_ordinary() -> None:
    glass = PICTURE.convert("RGBA")
    glass.putalpha(100)

    assert plain_webp_size(pictures.encoded(glass, "WEBP")) == (30, 41)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_says_more_is_left_to_the_decoder(kind: str) -> None:
    plain = pictures.encoded(PICTURE, kind)
    more = [pictures.turned(PICTURE, 6, kind), plain[:28]]
    if kind == "WEBP":
        more += [pictures.encoded(PICTURE, kind, xmp=b"<x/>"), plain + b"abcd\0\0\0\0", pictures.animated("WEBP")]
    else:
        text = pictures.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b'tiff:Orientation="6"')
        with_text = plain[:33] + text + plain[33:]
        assert read_header(with_text, LIMITS).orientation == 6
        more += [with_text, pictures.png_of(0, 64), pictures.swarm(40), pictures.animated("PNG")]

    for image in more:
        assert (plain_png_size if kind == "PNG" else plain_webp_size)(image) is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_wherever_it_ends_nothing_else_is_told(kind: str) -> None:
    plain = pictures.encoded(PICTURE, kind)
    size_of = plain_png_size if kind == "PNG" else plain_webp_size

    for length in range(200):
        assert size_of(plain[:length]) in (None, (30, 41))
