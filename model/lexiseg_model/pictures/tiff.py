"""Directories of a TIFF or BigTIFF file: its pages, which one is the picture, and the kinds of pages that are taken.

Reads the tables only, of a bounded number of pages and tags. TIFF 6.0; BigTIFF as in libtiff. Raw files of cameras are
TIFF, too: a preview in the first page, the sensor's values in a directory beneath it.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from lexiseg_model.errors import DamagedPictureError, UnsupportedPictureError

MAX_PAGES = 64  # overviews halve the picture, so that twenty lead from terapixels to one tile
MAX_TAGS = 1024  # of a page
# Tags.
NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT = 274, 277, 284, 338, 339
TILE_WIDTH, TILE_LENGTH, DIRECTORIES_BENEATH, ICC_PROFILE, DNG_VERSION = 322, 323, 330, 34675, 50706
READ_TAGS = {
    NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC,
    ORIENTATION, SAMPLES, PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT, TILE_WIDTH, TILE_LENGTH,
    DIRECTORIES_BENEATH, DNG_VERSION,
}  # fmt: skip
MAX_VALUES = 16  # of a tag: one a sample
INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # types of values: byte, short, long, IFD, long8, IFD8
BYTES = (1, 7)  # types of an ICC profile: byte, undefined
# Values of tags.
REDUCED, PAGE, MASK = 1, 2, 4  # bits of NewSubfileType
OLD_REDUCED = 2  # a SubfileType
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
FILTER_ARRAY, LINEAR_RAW = 32803, 34892
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # sample formats
ALPHA = (1, 2)  # extra samples: premultiplied or not
SEPARATE = 2  # a PlanarConfiguration
PHOTOMETRICS = {
    WHITE_IS_ZERO: "grey, white is zero", BLACK_IS_ZERO: "grey", RGB: "RGB", PALETTE: "palette", 4: "mask",
    CMYK: "CMYK", YCBCR: "YCbCr", CIELAB: "CIELAB", 9: "ICCLAB", 10: "ITULAB",
    32844: "LogL", 32845: "LogLuv",
}  # fmt: skip
COMPRESSIONS = {
    1: "none", 2: "CCITT RLE", 3: "CCITT G3", 4: "CCITT G4", 5: "LZW", 6: "old JPEG", 7: "JPEG", 8: "Deflate",
    32773: "PackBits", 32946: "Deflate", 33003: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGILog",
    34677: "SGILog24", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of DNG", 34925: "LZMA", 50000: "Zstandard",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
SAMPLE_FORMATS = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "float"}
MAX_SAMPLE_BYTES = 512 << 20  # of a deep picture: 40 megapixels of float RGB
MAX_TILE_PIXELS = 1 << 22  # of a tile of a small picture
# What Pillow's libtiff decompresses; WebP is in some builds alone.
READABLE = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000}
COLOURS = {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR}
MAX_SAMPLES = {RGB: 4, CMYK: 4, YCBCR: 3}  # of deep pages; of other colours 1
CAMERA_RAW = "a camera's raw file came, which a program has to develop first; send the developed JPEG, PNG or TIFF"
CR2 = b"CR\x02"  # behind the head of a TIFF


@dataclass(frozen=True)
class TiffPage:
    """One page: its place in the file, the values of READ_TAGS, and its ICC profile."""

    number: int
    tags: dict[int, tuple[int, ...]]
    profile: bytes = b""

    def first(self, tag: int, default: int) -> int:
        values = self.tags.get(tag)
        return values[0] if values else default

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as stored."""
        return self.first(HEIGHT, 0), self.first(WIDTH, 0)

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def samples(self) -> int:
        return self.first(SAMPLES, 1)

    @property
    def bits(self) -> int:
        """Bits of the widest sample."""
        return max(self.tags.get(BITS, (1,)))

    @property
    def sample_format(self) -> int:
        value = self.first(SAMPLE_FORMAT, UNSIGNED)
        return value if value in SAMPLE_FORMATS else UNSIGNED

    @property
    def photometric(self) -> int:
        return self.first(PHOTOMETRIC, BLACK_IS_ZERO)

    @property
    def is_planar(self) -> bool:
        """Whether each sample has a plane of its own."""
        return self.first(PLANAR, 1) == SEPARATE and self.samples > 1

    @property
    def is_deep(self) -> bool:
        """Whether samples are of more than 8 bits, signed or floating point."""
        return self.bits > 8 or self.sample_format != UNSIGNED

    @cached_property
    def is_extra(self) -> bool:
        """Whether it is an overview, a thumbnail or a mask of another page."""
        kind = self.first(NEW_SUBFILE_TYPE, 0)
        return bool(kind & (REDUCED | MASK)) or self.first(SUBFILE_TYPE, 0) == OLD_REDUCED

    def __str__(self) -> str:
        photometric, compression = self.photometric, self.first(COMPRESSION, 1)
        parts = (
            f"{self.samples} x {self.bits} bits {SAMPLE_FORMATS[self.sample_format]}",
            PHOTOMETRICS.get(photometric, f"photometric {photometric}"),
            *(("separate planes",) if self.is_planar else ()),
            f"compression {COMPRESSIONS.get(compression, compression)}",
        )
        return ", ".join(parts)


def pages_of(content: bytes) -> Iterator[TiffPage]:
    """The pages in the order of the file. Raises struct.error: the file is damaged."""
    directory = Directory(content)
    at = directory.first
    for number in range(MAX_PAGES):
        if not at:
            return
        page, at = directory.read(at, number)
        yield page
    if at:
        raise UnsupportedPictureError(f"a TIFF of more than {MAX_PAGES} pages came; send one still picture")


def pages_beneath(content: bytes, pages: Iterable[TiffPage]) -> Iterator[TiffPage]:
    """The pages in directories beneath pages, and beneath and behind those; without what cannot be read."""
    directory = Directory(content)
    places = deque(at for page in pages for at in page.tags.get(DIRECTORIES_BENEATH, ()))
    for number in range(MAX_PAGES):
        if not places:
            return
        with suppress(struct.error, OverflowError, UnsupportedPictureError):
            page, following = directory.read(places.popleft(), number)
            places.extend(page.tags.get(DIRECTORIES_BENEATH, ()))
            places.extend([following] if following else [])
            yield page


class Directory:
    """Reads directories of a TIFF or an EXIF block, in its byte order and width of offsets."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._order = "<" if content[:2] == b"II" else ">"
        self._big = struct.unpack_from(f"{self._order}H", content, 2)[0] == 43
        self.offset = struct.Struct(f"{self._order}{'Q' if self._big else 'I'}")
        self.number = struct.Struct(f"{self._order}{'Q' if self._big else 'H'}")
        self.entry = struct.Struct(f"{self._order}HH{'Q8s' if self._big else 'I4s'}")

    @property
    def first(self) -> int:
        """The offset of the first page."""
        return self._at(8 if self._big else 4)

    def read(self, at: int, number: int) -> tuple[TiffPage, int]:
        """The page at an offset, which gets a number, and the offset of the next one; 0 after the last."""
        (n_tags,) = self.number.unpack_from(self._content, at)
        if n_tags > MAX_TAGS:
            raise UnsupportedPictureError(f"a TIFF of {n_tags} tags came, at most {MAX_TAGS} are taken")
        at += self.number.size
        tags, profile = {}, b""
        for _ in range(n_tags):
            tag, kind, count, inline = self.entry.unpack_from(self._content, at)
            at += self.entry.size
            if tag in READ_TAGS and kind in INTEGERS:
                layout = f"{self._order}{min(count, MAX_VALUES)}{INTEGERS[kind]}"
                is_inline = struct.calcsize(layout) <= len(inline)
                where = (inline, 0) if is_inline else (self._content, *self.offset.unpack(inline))
                tags[tag] = struct.unpack_from(layout, *where)
            elif tag == ICC_PROFILE and kind in BYTES and count > len(inline):
                (place,) = self.offset.unpack(inline)
                profile = self._content[place : place + count]
        return TiffPage(number, tags, profile), self._at(at)

    def _at(self, place: int) -> int:
        offset: int = self.offset.unpack_from(self._content, place)[0]
        return offset


def picture_page(content: bytes) -> TiffPage:
    """The page that is the picture: overviews, thumbnails and masks of it do not count. Raises UnsupportedPictureError:
    the file holds several pictures, a camera's raw data, or a preview only."""
    try:
        pages = list(pages_of(content))
    except (struct.error, OverflowError):
        raise DamagedPictureError("begins like TIFF, but its header is damaged (a directory is cut short)") from None
    if not pages:
        raise DamagedPictureError("begins like TIFF, but has no page")
    whole = [page for page in pages if not page.is_extra]
    picture = whole[0] if whole else max(pages, key=lambda page: page.pixels)
    beneath = list(pages_beneath(content, pages))
    is_raw = [page.photometric in (FILTER_ARRAY, LINEAR_RAW) or DNG_VERSION in page.tags for page in (*pages, *beneath)]
    if content.startswith(CR2, 8) or any(is_raw):
        raise UnsupportedPictureError(CAMERA_RAW)
    if len(whole) > 1:
        raise UnsupportedPictureError("a many-page TIFF came; send one still picture")
    largest = max(beneath, key=lambda page: page.pixels, default=picture)
    if largest.pixels > picture.pixels:
        own, other = (f"{page.size[1]} x {page.size[0]}" for page in (picture, largest))
        raise UnsupportedPictureError(
            f"a TIFF came whose page of {own} pixels is the preview of one of {other} in a directory beneath it, which "
            "is not read; save that as a page of its own"
        )
    return picture


def check_kind(page: TiffPage) -> None:
    """Refuse kinds of pages that no decoder here reads right. Raises UnsupportedPictureError: names the kind."""
    compression, photometric = page.first(COMPRESSION, 1), page.photometric
    problem, sample_bytes = "", page.pixels * page.samples * max(8, page.bits) // 8
    # A decoder holds a tile in memory, whatever the size of the picture.
    tile_pixels = page.first(TILE_WIDTH, 0) * page.first(TILE_LENGTH, 0)
    if compression not in READABLE:
        problem = f"{COMPRESSIONS.get(compression, f'number {compression}')} compression"
    elif photometric not in COLOURS:
        problem = f"{PHOTOMETRICS.get(photometric, str(photometric))} colours"
    elif page.sample_format == FLOAT and page.bits not in (32, 64):
        problem = f"floats of {page.bits} bits"
    elif page.samples > MAX_SAMPLES.get(photometric, 1) and page.is_deep:
        problem = f"{page.samples} deep samples a pixel"
    elif page.samples > 2 and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        problem = f"{page.samples} bands without colours"
    elif page.is_planar and page.is_deep:
        problem = "deep samples in separate planes"
    elif page.is_deep and sample_bytes > MAX_SAMPLE_BYTES:
        problem = f"{sample_bytes >> 20} MiB of deep samples"
    elif tile_pixels > max(MAX_TILE_PIXELS, 2 * page.pixels):
        problem = f"tiles of {tile_pixels:,} pixels"
    if problem:
        raise UnsupportedPictureError(f"a TIFF with {problem} is not taken ({page}); save it as RGB or grey with LZW")
