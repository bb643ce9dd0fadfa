"""Files of countless small parts are refused before a decoder sees them; honest ones are not."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from lexiseg_service.errors import UndecodableImage
from lexiseg_service.image.header import read_header
from lexiseg_service.image.many_parts import (
    MOST_CHUNKS,
    MOST_EXIF_BYTES,
    MOST_NUMBERS,
    MOST_PACKED,
    MOST_PAIRS,
    MOST_PIECES,
    MOST_PLACES,
    MOST_RESOURCES,
    MOST_TABLE_BYTES,
    MOST_TAGS,
)
from lexiseg_service.settings import Limits
from lexiseg_service.worker.costs.decoding import decode_cost
from lexiseg_service.worker.decode import decode
from tests import pictures

LIMITS = Limits()
SIDE = 64
SHORT, LONG, FRACTION = 3, 4, 5
BITS, PLACES_OF_STRIPS, RESOLUTION, PRIVATE = 258, 273, 282, 40_000


def directory(*tags: tuple[int, int, int], order: str = "<") -> bytes:
    """Of a TIFF: tag, type, count; all values lie at the front."""
    longest = max(count * {SHORT: 2, LONG: 4, FRACTION: 8}[kind] for _, kind, count in tags)
    entries = b"".join(struct.pack(f"{order}HHLL", tag, kind, count, 8) for tag, kind, count in tags)
    head = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(f"{order}H", len(tags))
    return head + struct.pack(f"{order}L", 8 + longest) + bytes(longest) + count + entries + bytes(4)


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(body)) + body


def jpeg(*segments: bytes) -> bytes:
    plain = pictures.encoded(pictures.small(), "JPEG")
    return plain[:2] + b"".join(segments) + plain[2:]


def with_exif(block: bytes) -> bytes:
    step = 60_000
    return jpeg(*(segment(0xE1, b"Exif\0\0" + block[at : at + step]) for at in range(0, len(block), step)))


def run_lengths(width: int, height: int) -> bytes:
    """A BMP in which each row is one grey."""
    rows = height * (bytes([min(width, 255), 5, 0, 0])) + b"\0\1"
    head = struct.pack("<LllHHLLllLL", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
    begin = 14 + 40 + 1024
    return b"BM" + struct.pack("<LHHL", begin + len(rows), 0, 0, begin) + head + bytes(1024) + rows


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def in_a_text(exif: bytes) -> bytes:
    """A PNG with EXIF as ImageMagick writes it."""
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    chunk = pictures.png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    plain = pictures.encoded(pictures.small())
    end_of_head = plain.index(b"IHDR") + 4 + 13 + 4
    return plain[:end_of_head] + chunk + plain[end_of_head:]


WEBP = pictures.encoded(pictures.small(), "WEBP")
PACKED, PROFILE = (pictures.png_chunk(name, b"k\0\0" + zlib.compress(bytes(1000))) for name in (b"zTXt", b"iCCP"))
MANY_TAGS = directory(*((PRIVATE + number, SHORT, 1) for number in range(MOST_TAGS + 1)))
TABLE = segment(0xC0, b"\x08\0\x40\0\x40\x03" + b"\x01\x11\x00" * 5000)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        pytest.param(pictures.png_of(SIDE, SIDE, (MOST_PACKED + 1) * PACKED), "packed texts", id="texts"),
        pytest.param(pictures.png_of(SIDE, SIDE, 3 * PROFILE), "colour profiles", id="profiles"),
        pytest.param(pictures.swarm(6000), "chunks beside", id="chunks"),
        pytest.param(MANY_TAGS, "1,000 tags", id="tags"),
        pytest.param(directory((PLACES_OF_STRIPS, LONG, 2 * MOST_PLACES + 1)), "strips", id="strips"),
        pytest.param(directory((RESOLUTION, FRACTION, MOST_PAIRS + 1)), "fractions", id="fractions"),
        pytest.param(directory((RESOLUTION, FRACTION, MOST_PAIRS + 1), order=">"), "fractions", id="the other order"),
        pytest.param(
            directory((BITS, SHORT, MOST_NUMBERS // 2), (PRIVATE, LONG, MOST_NUMBERS // 2 + 1)), "numbers", id="numbers"
        ),
        pytest.param(jpeg(*[TABLE] * (MOST_TABLE_BYTES // len(TABLE) + 1)), "bytes of tables", id="heads of frames"),
        pytest.param(jpeg(segment(0xED, b"8BIM" * (MOST_RESOURCES + 1))), "resources", id="resources"),
        pytest.param(with_exif(MANY_TAGS), "1,000 tags", id="tags of a JPEG"),
        pytest.param(with_exif(directory((RESOLUTION, FRACTION, 20_000))), "fractions", id="EXIF in pieces"),
        pytest.param(with_exif(bytes(MOST_EXIF_BYTES + 1)), "bytes of EXIF", id="megabytes of EXIF"),
        pytest.param(with_exif(b"II+\0" + bytes(100)), "64 bits", id="EXIF of another layout"),
        pytest.param(WEBP + 6000 * b"abcd\0\0\0\0", "chunks", id="chunks of a WebP"),
        pytest.param(jpeg(segment(0xE2, b"MPF\0" + MANY_TAGS)), "1,000 tags", id="tags of a list of pictures"),
        pytest.param(run_lengths(2000, 501), "run lengths of more", id="run lengths"),
    ],
)
def test_countless_parts_are_refused_before_a_decoder_sees_them(
    image: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("a decoder has seen it"))

    with pytest.raises(UndecodableImage, match=f"{said}.*; save it anew"):
        read_header(image, LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_of_countless_tags_is_nobodys_business(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pictures.encoded(pictures.small(), kind, exif=b"Exif\0\0" + MANY_TAGS)
    monkeypatch.setattr("PIL.Image.Exif.load", lambda *_: pytest.fail("it was read"))

    assert read_header(image, LIMITS).orientation == 1


def test_exif_in_a_text_of_a_png_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = in_a_text(Image.Exif.tobytes(exif_of(6)))
    countless = in_a_text(MANY_TAGS)

    assert read_header(turned, LIMITS).orientation == 6
    monkeypatch.setattr("PIL.Image.Exif.load", lambda *_: pytest.fail("it was read"))
    assert read_header(countless, LIMITS).orientation == 1


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        pytest.param((MOST_PACKED + 1) * PACKED, "packed texts", id="packed texts"),
        pytest.param(3 * PROFILE, "colour profiles", id="profiles"),
        pytest.param((MOST_CHUNKS + 1) * pictures.png_chunk(b"tEXt", b"a\0b"), "chunks beside", id="texts"),
        pytest.param((MOST_PIECES + 1) * pictures.png_chunk(b"IDAT", b""), "pieces of its pixels", id="pieces"),
    ],
)
def test_what_stands_behind_the_pixels_of_a_png_is_counted_before_they_are_decoded(
    behind: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pictures.encoded(pictures.small())
    end = plain.rindex(b"IEND") - 4
    image = plain[:end] + behind + plain[end:]
    assert read_header(image, LIMITS).format == "PNG"

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_end", lambda _: pytest.fail("it was read"))

    with pytest.raises(UndecodableImage, match=f"{said}.*; save it anew"):
        decode(image, LIMITS, None)


def test_what_stands_behind_the_end_of_a_png_is_nobodys_business() -> None:
    image = pictures.encoded(pictures.small()) + bytes(12 * (MOST_CHUNKS + 1))

    assert decode(image, LIMITS, None).size == read_header(image, LIMITS).size


def test_a_picture_with_a_profile_texts_exif_and_many_strips_is_taken() -> None:
    picture = pictures.small("china")
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = bytes(3000)
    for image in (
        pictures.encoded(picture, "PNG", icc_profile=profile, exif=exif),
        pictures.encoded(picture, "JPEG", icc_profile=profile, exif=exif, comment=b"a"),
        pictures.encoded(picture, "WEBP", icc_profile=profile, exif=exif),
    ):
        header = read_header(image, LIMITS)
        assert (*header.size, header.orientation) == (*picture.size, 6)

    strips = io.BytesIO()
    picture.resize((20, 3000)).save(strips, "TIFF", tiffinfo={278: 1}, strip_size=1)
    assert read_header(strips.getvalue(), LIMITS).size == (3000, 20)


def test_run_lengths_are_taken_where_they_are_few_and_cost_what_they_take() -> None:
    image = run_lengths(255, 200)
    whole = pictures.encoded(pictures.small().resize((255, 200)), "BMP")

    header = read_header(image, LIMITS)

    assert (header.format, header.size) == ("BMP", (200, 255))
    assert decode_cost(header.size, image) > 5 * decode_cost(header.size, whole)
