"""How many parts of an image file a decoder may be shown, beside its pixels.

Pillow makes an object of each strip of a TIFF, each number of a tag, each table of a JPEG, and unpacks each colour
profile of a PNG, before it is known how large the picture is: files of megabytes keep it for seconds. So they are
counted first. Layouts are those of TIFF 6.0 (section 2), PNG (third edition, 5), JPEG (ITU-T T.81, B.1), WebP
(RFC 9649, 2.3) and of `BITMAPINFOHEADER`.
"""

from __future__ import annotations

from collections.abc import Iterator

from lexiseg_service.image.jpeg_scans import FRAMES, START_OF_SCAN, TooManySegments, segments

PACKED = frozenset({b"zTXt", b"iTXt"})  # texts of a PNG that are unpacked
MOST_PACKED = 16  # an honest file has some
PROFILE = b"iCCP"  # likewise unpacked
MOST_PROFILES = 2  # there may be one (11.3.2.3)
MOST_CHUNKS = 5000  # beside the pixels, and of a WebP
MOST_PIECES = 50_000  # in which the pixels of a PNG come; 20 MB in pieces of 1 KiB are 20,000
PIXELS, LAST = b"IDAT", b"IEND"
MOST_TAGS = 1000
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # of a tag's types
AS_BYTES = frozenset({1, 2, 7})  # types that are taken as they are
PAIRS = frozenset({5, 10})  # a numerator and a denominator: dear
PLACES = frozenset({273, 279, 324, 325})  # tags: where the strips and tiles are, and how long
MOST_PAIRS = 1000
MOST_PLACES = 20_000  # of strips or tiles, and of their lengths
MOST_NUMBERS = 200_000  # the largest palette has 196,608
TABLES = FRAMES | {0xC4, 0xDB}  # quantisation, codes, heads of frames
MOST_TABLE_BYTES = 32 * 2**10  # before the first scan; an honest file has one or two KiB
EXIF_OR_XMP, RESOURCES = 0xE1, 0xED
EXIF = b"Exif\0\0"
PROFILE_OR_PICTURES, PICTURES = 0xE2, b"MPF\0"  # a list of more pictures behind the first one, as phones write it
MOST_EXIF_BYTES = 2**20
WIDE = (b"II+\0", b"MM\0+")  # first bytes of a directory of another layout, which EXIF has never
MOST_RESOURCES = 1000  # of Photoshop's
RUN_LENGTHS = frozenset({1, 2})  # ways in which a BMP is packed; Pillow's decoder of these is Python
MOST_RUN_LENGTH_PIXELS = 1_000_000


class TooManyParts(Exception):
    """The file is a swarm of tiny parts."""


def check_parts(content: bytes, kind: str) -> None:
    """Looks at an image file; those of other kinds have bounds elsewhere.

    Args:
        content: the file.
        kind: of PNG, TIFF, JPEG, WEBP and BMP.

    Raises:
        TooManyParts: a decoder would take long for it, and why.
    """
    match kind:
        case "PNG":
            _check_png(content)
        case "TIFF":
            check_directory(content)
        case "JPEG":
            _check_jpeg(content)
        case "WEBP":
            _check_webp(content)
        case "BMP":
            if is_of_run_lengths(content) and _bmp_pixels(content) > MOST_RUN_LENGTH_PIXELS:
                raise TooManyParts(f"run lengths of more than {MOST_RUN_LENGTH_PIXELS:,} pixels")


def check_directory(content: bytes) -> int:
    """Looks at the first directory of a TIFF, or of EXIF, which is one.

    Returns:
        Of how many strips or tiles it says where they are, or how long.

    Raises:
        TooManyParts: it holds too many tags or numbers.
    """
    if content[:4] in WIDE:
        raise TooManyParts("places of 64 bits")
    order = "little" if content[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(content[at : at + size], order)  # type: ignore[arg-type]  # one of two

    at = number(4, 4)
    n_tags = number(at, 2)
    _bound(n_tags, MOST_TAGS, "tags")
    pairs = places = numbers = 0
    for entry in range(at + 2, at + 2 + 12 * n_tags, 12):
        tag, kind, count = number(entry, 2), number(entry + 2, 2), number(entry + 4, 4)
        if kind in AS_BYTES or kind not in SIZES or SIZES[kind] * count > len(content):
            continue  # nobody unpacks it
        if kind in PAIRS:
            pairs += count
        elif tag in PLACES:
            places += count
        else:
            numbers += count
    _bound(pairs, MOST_PAIRS, "fractions")
    _bound(places, 2 * MOST_PLACES, "places and lengths of strips")
    _bound(numbers, MOST_NUMBERS, "numbers in its tags")
    return places


def is_of_run_lengths(content: bytes) -> bool:
    """Whether a file is a BMP that is packed."""
    return content[:2] == b"BM" and int.from_bytes(content[30:34], "little") in RUN_LENGTHS


def _bmp_pixels(content: bytes) -> int:
    width, height = (int.from_bytes(content[at : at + 4], "little", signed=True) for at in (18, 22))
    return abs(width * height)


def _check_png(content: bytes) -> None:
    counted = _PngParts()
    for name in png_chunks(content):
        if name == PIXELS:
            return
        counted.add(name)


def check_whole(content: bytes, kind: str) -> None:
    """Looks at what stands behind the pixels, too: whoever decodes them reads on, or takes all of the file first.

    Raises:
        TooManyParts: a decoder would take long for it, and why.
    """
    if kind == "WEBP":
        _check_webp(content)
    elif kind == "PNG":
        counted = _PngParts()
        for name in png_chunks(content):
            counted.add(name)


def png_chunks(content: bytes) -> Iterator[bytes]:
    """Names of the chunks of a PNG, to its end."""
    at = 8
    name = b""
    while name != LAST and len(name := content[at + 4 : at + 8]) == 4:
        yield name
        at += 12 + int.from_bytes(content[at : at + 4], "big")


class _PngParts:
    def __init__(self) -> None:
        self._packed = self._profiles = self._pieces = self._others = 0

    def add(self, name: bytes) -> None:
        if name == PIXELS:
            self._pieces += 1
            _bound(self._pieces, MOST_PIECES, "pieces of its pixels")
            return
        self._others += 1
        _bound(self._others, MOST_CHUNKS, "chunks beside its pixels")
        if name in PACKED:
            self._packed += 1
            _bound(self._packed, MOST_PACKED, "packed texts")
        self._profiles += name == PROFILE
        _bound(self._profiles, MOST_PROFILES, "colour profiles")


def _check_webp(content: bytes) -> None:
    at = 12
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(content):
            return
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    raise TooManyParts(f"more than {MOST_CHUNKS:,} chunks")


def _check_jpeg(content: bytes) -> None:
    tables = resources = n_exif = 0
    exif: list[bytes] = []  # a long one comes in several
    try:
        for marker, at in segments(content):
            if marker == START_OF_SCAN:
                break
            length = int.from_bytes(content[at + 2 : at + 4], "big")
            body = content[at + 4 : at + 2 + length]
            if marker in TABLES:
                tables += length
            elif marker == RESOURCES:
                resources += body.count(b"8BIM")
            elif marker == EXIF_OR_XMP and body.startswith(EXIF):
                exif.append(body.removeprefix(EXIF))
                n_exif += len(exif[-1])
            elif marker == PROFILE_OR_PICTURES and body.startswith(PICTURES):
                check_directory(body.removeprefix(PICTURES))
            _bound(tables, MOST_TABLE_BYTES, "bytes of tables")
            _bound(resources, MOST_RESOURCES, "resources")
            _bound(n_exif, MOST_EXIF_BYTES, "bytes of EXIF")
    except TooManySegments as error:
        raise TooManyParts("countless segments") from error
    check_directory(b"".join(exif))


def _bound(count: int, most: int, what: str) -> None:
    if count > most:
        raise TooManyParts(f"more than {most:,} {what}")
