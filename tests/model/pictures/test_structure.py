"""Files of a great many parts, which parsers in Python take seconds for."""

import struct
import zlib

import numpy as np
import pytest

from lexiseg_model.errors import DamagedPictureError
from lexiseg_model.pictures.colours import MAX_PROFILE_BYTES
from lexiseg_model.pictures.header import read_header
from lexiseg_model.pictures.reader import read
from lexiseg_model.pictures.structure import MAX_FILL_BYTES, MAX_PARTS, MAX_TEXTS, MAX_UNPACKED, check_structure
from tests import pictures

MANY = 100_000
PNG, JPEG, WEBP, AVIF = (pictures.encoded(pictures.small(), kind) for kind in ("PNG", "JPEG", "WEBP", "AVIF"))
# A megabyte of zeros whose checksum is missing: a parser unpacks it and counts nothing.
UNCOUNTED = zlib.compress(bytes(1_000_000), 9)[:-6]


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return pictures.png_chunk(name, content)


def png_with(chunks: bytes) -> bytes:
    """Chunks after the header, which has 33 bytes with the signature."""
    return PNG[:33] + chunks + PNG[33:]


def jpeg_with(content: bytes) -> bytes:
    """Segments or other bytes after the first marker."""
    return JPEG[:2] + content + JPEG[2:]


def segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def webp_with(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(WEBP) - 8 + len(chunks)) + WEBP[8:] + chunks


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


def directory(*entries: bytes, then: bytes = b"") -> bytes:
    """A TIFF of one directory, or the content of an EXIF block."""
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4) + then


def tiff_with(tag: int, kind: int, count: int) -> bytes:
    """A TIFF of 64 x 64 pixels with a value of `count` items at its end."""
    sizes = [entry(256, 4, 1, 64), entry(257, 4, 1, 64), entry(273, 4, 1, 8)]
    return directory(*sizes, entry(tag, kind, count, 8 + 2 + 4 * 12 + 4), then=bytes(8 * count))


def bmp_of_run_lengths(n_bytes: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, 6000, 6000, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + bytes(8) + struct.pack("<I", 1078) + head + bytes(1024) + b"\1\7" * (n_bytes // 2)


ENTRIES = directory(*(entry(tag, 3, 1, 1) for tag in range(60_000)))
EXIF_SEGMENTS = [ENTRIES[at : at + 65_000] for at in range(0, len(ENTRIES), 65_000)]


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        pytest.param(png_with(chunk(b"prVt") * MANY), "chunks", id="png of empty chunks"),
        pytest.param(PNG[:-12] + chunk(b"prVt") * MANY + PNG[-12:], "chunks", id="png, after its data"),
        pytest.param(png_with(chunk(b"zTXt", b"a\0\0" + UNCOUNTED) * 99), "texts", id="png of packed texts"),
        pytest.param(png_with(chunk(b"iCCP", b"a\0\0" + UNCOUNTED) * 99), "colours", id="png of profiles"),
        pytest.param(png_with(chunk(b"eXIf", ENTRIES)), "entries", id="png of exif entries"),
        pytest.param(jpeg_with(segment(0xE5) * MANY), "segments", id="jpeg of empty segments"),
        pytest.param(jpeg_with(b"\xff\xd0" * MANY), "segments", id="jpeg of restart markers"),
        pytest.param(jpeg_with(b"\xff" * MANY), "bytes", id="jpeg of fill bytes"),
        pytest.param(jpeg_with(segment(0xE5) + bytes(MANY)), "bytes", id="jpeg of zeros between segments"),
        pytest.param(jpeg_with(b"\xff\0" * MANY), "bytes", id="jpeg of escaped bytes between segments"),
        pytest.param(jpeg_with((segment(0xE5) + b"\xff" * 999) * 99), "bytes", id="jpeg of fill bytes here and there"),
        pytest.param(jpeg_with(segment(0xED, b"Photoshop 3.0\0") * 99), "0xed", id="jpeg of photoshop's resources"),
        pytest.param(jpeg_with(segment(0xDB, bytes(65_000)) * 99), "0xdb", id="jpeg of quantization tables"),
        pytest.param(jpeg_with(segment(0xC0, bytes(65_000)) * 99), "frames", id="jpeg of frames"),
        pytest.param(jpeg_with(segment(0xE1, b"Exif\0\0") * 99), "EXIF", id="jpeg of exif segments"),
        pytest.param(
            jpeg_with(b"".join(segment(0xE1, b"Exif\0\0" + part) for part in EXIF_SEGMENTS)),
            "entries",
            id="jpeg of exif entries",
        ),
        pytest.param(JPEG[:-2] + segment(0xDA, bytes(6)) * 999 + JPEG[-2:], "scans", id="jpeg of scans"),
        pytest.param(
            JPEG[:-2] + (segment(0xFE, JPEG[-2:]) + segment(0xDA, bytes(6))) * 999 + JPEG[-2:],
            "scans",
            id="jpeg of scans between ends of images in comments",
        ),
        pytest.param(webp_with(b"XXXX\0\0\0\0" * MANY), "chunks", id="webp of empty chunks"),
        pytest.param(webp_with(b"EXIF\0\0\0\0" * MANY), "EXIF", id="webp of exif chunks"),
        pytest.param(AVIF + pictures.box(b"free", b"") * MANY, "boxes", id="avif of empty boxes"),
        pytest.param(ENTRIES, "entries", id="tiff of entries"),
        pytest.param(tiff_with(279, 4, 200_000), "numbers", id="tiff of strips"),
        pytest.param(tiff_with(282, 5, 200_000), "numbers", id="tiff of resolutions"),
        pytest.param(bmp_of_run_lengths(2_000_000), "run lengths", id="bmp of run lengths"),
    ],
)
def test_a_file_of_countless_parts_is_refused_before_it_is_parsed(
    image: bytes, parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("parsed"))
    monkeypatch.setattr("pi_heif.open_heif", lambda *_, **__: pytest.fail("parsed"))

    with pytest.raises(DamagedPictureError, match=rf"^more than [0-9,]+ .*{parts}"):
        read_header(image)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(png_with(chunk(b"prVt") * (MAX_PARTS - 8)), id="png"),
        pytest.param(png_with(chunk(b"zTXt", b"a\0\0" + zlib.compress(b"b")) * MAX_TEXTS), id="png's texts"),
        pytest.param(jpeg_with(segment(0xFE) * (MAX_PARTS - 16)), id="jpeg"),
        pytest.param(jpeg_with(b"\xff" * (MAX_FILL_BYTES - 99)), id="jpeg's fill bytes"),
        pytest.param(jpeg_with(segment(0xED, b"Photoshop 3.0\0") * MAX_UNPACKED), id="jpeg's resources"),
        pytest.param(webp_with(b"XXXX\0\0\0\0" * (MAX_PARTS - 8)), id="webp"),
        pytest.param(AVIF + pictures.box(b"free", b"") * (MAX_PARTS - 8), id="avif"),
    ],
)
def test_a_file_of_many_parts_is_read(image: bytes) -> None:
    assert read_header(image).size == pictures.small().size[::-1]


@pytest.mark.parametrize("place", [33, len(PNG) - 12], ids=["before its data", "after"])
def test_a_png_has_packed_texts_of_megabytes_up_to_a_limit_that_is_named(place: int) -> None:
    large, too_large = (
        PNG[:place] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(length))) + PNG[place:]
        for length in (MAX_PROFILE_BYTES, MAX_PROFILE_BYTES + 1)
    )

    assert np.array_equal(read(large).rgb, read(PNG).rgb)
    with pytest.raises(DamagedPictureError, match=f"more than {MAX_PROFILE_BYTES:,} bytes"):
        read(too_large)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP"])
def test_a_file_cut_anywhere_is_left_to_its_decoder(kind: str) -> None:
    image = pictures.encoded(pictures.small(side=32), kind)

    for end in range(len(image)):
        check_structure(image[:end], kind)


@pytest.mark.parametrize("length", [0, 1, 0xFFFF_FFFF])
def test_a_length_that_leads_nowhere_ends_the_count(length: int) -> None:
    wrong = struct.pack(">I", length)

    check_structure(AVIF + wrong + b"free" + bytes(99), "AVIF")
    check_structure(PNG[:33] + wrong + b"prVt" + bytes(99), "PNG")
    check_structure(webp_with(b"XXXX" + wrong[::-1] + bytes(99)), "WEBP")
    check_structure(directory(struct.pack("<HHII", 273, 4, length, length)), "TIFF")


def test_a_broken_directory_is_no_reason_to_refuse_a_picture() -> None:
    beyond = segment(0xE1, b"Exif\0\0" + directory(entry(282, 5, 0xFFFF_FFFF, 8)))

    assert read_header(jpeg_with(beyond)).size == pictures.small().size[::-1]
    with pytest.raises(DamagedPictureError):
        read_header(b"II*\0\xff\xff\xff\xff")


def test_what_follows_the_end_of_a_jpeg_is_not_counted() -> None:
    film = bytes(range(256)) * 10 + b"\xff\xda" * 1_000

    assert read_header(JPEG + film) == read_header(JPEG)
