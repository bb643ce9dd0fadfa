"""The size of plain JPEGs, read alike by Pillow's parser; what is not plain is left to that."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from PIL import Image

from lexiseg_service.image import header
from lexiseg_service.image.header import ImageHeader, read_header
from lexiseg_service.image.jpeg_scans import has_more_scans
from lexiseg_service.image.plain_jpeg import plain_size
from lexiseg_service.settings import Limits

MUTATIONS = 400
HEAD = 640  # bytes, in which everything before the scan is


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    """A photograph's worth of noise, 40 pixels wide and 30 high."""
    noise = random.Random(0).randbytes(40 * 30 * len(mode))
    buffer = io.BytesIO()
    Image.frombytes(mode, (40, 30), noise).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_orientation() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    "image",
    [
        jpeg(),
        jpeg("L"),
        jpeg(quality=10, optimize=True),
        jpeg(subsampling=0, dpi=(300, 300)),
        jpeg(comment=b"by hand"),
        jpeg(icc_profile=bytes(200)),
    ],
)
def test_a_plain_file_is_read_without_pillow(image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(header, "_parse")

    assert read_header(image, Limits()) == ImageHeader("JPEG", (30, 40), 1)


@pytest.mark.parametrize(
    "image", [jpeg("CMYK"), jpeg(progressive=True), jpeg(exif=with_orientation()), jpeg()[:300], b"\xff\xd8\xff\xe0"]
)
def test_what_is_not_plain_is_left_to_pillow(image: bytes) -> None:
    assert plain_size(image) is None


def test_a_damaged_file_is_as_large_as_pillow_reads_it_or_not_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, whole, limits, n_plain = random.Random(1), jpeg(), Limits(), 0
    assert whole.index(b"\xff\xda") < HEAD
    for _ in range(MUTATIONS):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 1, 2, 8])):
            damaged[draw.randrange(2, HEAD)] = draw.choice([0, 1, 2, 17, 0xFF, 0xDA, draw.randrange(256)])
        size = plain_size(bytes(damaged))
        if size is None or min(size) < limits.min_side or size[0] * size[1] > limits.max_pixels:
            continue
        n_plain += 1
        with monkeypatch.context() as without:
            without.setattr(header, "plain_size", lambda image: None)
            assert read_header(bytes(damaged), limits) == ImageHeader("JPEG", size, 1)
        assert not has_more_scans(bytes(damaged), 1)
    assert n_plain > MUTATIONS / 8
