"""Directories of a TIFF or BigTIFF file: the tags that say how its pixels are stored, and which page is the picture.

Reads the tables alone, of a bounded number of pages and tags. TIFF 6.0; BigTIFF as in libtiff.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lexiseg_model.errors import DamagedPictureError, UnsupportedPictureError
from lexiseg_model.pictures.orientation import known_orientation

MAX_PAGES = 64  # overviews halve the picture, so that twenty lead from terapixels to one tile
MAX_TAGS = 1024  # of a page
MAX_SAMPLE_BYTES = 512 << 20  # of a deep picture: 40 megapixels of float RGB
MAX_TILE_PIXELS = 1 << 22  # of a tile of a small picture
# Tags.
NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT = 274, 277, 284, 338, 339
TILE_WIDTH, TILE_LENGTH = 322, 323
READ_TAGS = {
    NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC,
    ORIENTATION, SAMPLES, PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT, TILE_WIDTH, TILE_LENGTH,
}  # fmt: skip
MAX_VALUES = 16  # of a tag: one a sample
INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}  # types of values: byte, short, long, IFD, long8
# Values of tags.
REDUCED, PAGE, MASK = 1, 2, 4  # bits of NewSubfileType
OLD_REDUCED = 2  # a SubfileType
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # sample formats
ALPHA = (1, 2)  # extra samples: premultiplied or not
SEPARATE = 2  # a PlanarConfiguration
PHOTOMETRICS = {
    WHITE_IS_ZERO: "grey, white is zero", BLACK_IS_ZERO: "grey", RGB: "RGB", PALETTE: "palette", 4: "mask",
    CMYK: "CMYK", YCBCR: "YCbCr", CIELAB: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32803: "colour filter array",
    32844: "LogL", 32845: "LogLuv", 34892: "linear raw",
}  # fmt: skip
COMPRESSIONS = {
    1: "none", 2: "CCITT RLE", 3: "CCITT G3", 4: "CCITT G4", 5: "LZW", 6: "old JPEG", 7: "JPEG", 8: "Deflate",
    32773: "PackBits", 32946: "Deflate", 33003: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGILog",
    34677: "SGILog24", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of DNG", 34925: "LZMA", 50000: "Zstandard",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
# What Pillow's libtiff decompresses; WebP is in some builds alone.
READABLE = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000}
COLOURS = {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR}
MAX_SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 4, PALETTE: 1, CMYK: 4, YCBCR: 3}  # of deep pages
SAMPLE_FORMATS = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "float"}


@dataclass(frozen=True)
class TiffPage:
    """One page: the values of the tags that matter here, and its place in the file."""

    number: int
    tags: dict[int, tuple[int, ...]]

    def first(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        values = self.tags.get(tag)
        return values[0] if values else default

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as stored."""
        return self.first(HEIGHT, 0), self.first(WIDTH, 0)

    @property
    def orientation(self) -> int:
        return known_orientation(self.first(ORIENTATION, 1))

    @property
    def samples(self) -> int:
        """Values of a pixel."""
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
    def has_alpha(self) -> bool:
        """Whether the fourth sample of a colour is its opacity."""
        return self.first(EXTRA_SAMPLES, 0) in ALPHA

    @property
    def is_planar(self) -> bool:
        """Whether each sample has a plane of its own."""
        return self.first(PLANAR, 1) == SEPARATE and self.samples > 1

    @property
    def sample_bytes(self) -> int:
        """Bytes of all samples, decoded."""
        height, width = self.size
        return height * width * self.samples * max(8, self.bits) // 8

    @property
    def tile_pixels(self) -> int:
        """Pixels of a tile, which a decoder holds in memory whatever the size of the picture; 0 without tiles."""
        return self.first(TILE_WIDTH, 0) * self.first(TILE_LENGTH, 0)

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
        """How its pixels are stored, for messages."""
        photometric, compression = self.photometric, self.first(COMPRESSION, 1)
        parts = (
            f"{self.samples} x {self.bits} bits {SAMPLE_FORMATS[self.sample_format]}",
            PHOTOMETRICS.get(photometric, f"photometric {photometric}"),
            *(("separate planes",) if self.is_planar else ()),
            f"compression {COMPRESSIONS.get(compression, compression)}",
        )
        return ", ".join(parts)


def check_kind(page: TiffPage) -> None:
    """Refuse kinds of pages that no decoder here reads right.

    Raises:
        UnsupportedPictureError: names the kind.
    """
    compression, photometric = page.first(COMPRESSION, 1), page.photometric
    name = PHOTOMETRICS.get(photometric, str(photometric))
    problem = ""
    if compression not in READABLE:
        problem = f"{COMPRESSIONS.get(compression, f'number {compression}')} compression"
    elif photometric not in COLOURS:
        problem = f"{name} colours"
    elif page.sample_format == FLOAT and page.bits not in (32, 64):
        problem = f"floats of {page.bits} bits"
    elif page.samples > MAX_SAMPLES[photometric] and page.is_deep:
        problem = f"{page.samples} deep samples a pixel"
    elif page.samples > 2 and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        problem = f"{page.samples} bands without colours"
    elif page.is_planar and page.is_deep:
        problem = "deep samples in separate planes"
    elif page.is_deep and page.sample_bytes > MAX_SAMPLE_BYTES:
        problem = f"{page.sample_bytes >> 20} MiB of deep samples"
    elif page.tile_pixels > max(MAX_TILE_PIXELS, 2 * page.size[0] * page.size[1]):
        problem = f"tiles of {page.tile_pixels:,} pixels"
    if problem:
        raise UnsupportedPictureError(f"a TIFF with {problem} is not taken ({page}); save it as RGB or grey with LZW")


def picture_page(content: bytes) -> TiffPage:
    """The page that is the picture: overviews, thumbnails and masks of it do not count.

    Raises:
        DamagedPictureError: the directories cannot be read.
        UnsupportedPictureError: the file holds several pictures.
    """
    whole: TiffPage | None = None
    first: TiffPage | None = None
    for page in _pages(content):
        first = first or page
        if page.is_extra:
            continue
        if whole is not None:
            raise UnsupportedPictureError("a many-page TIFF came; send one still picture")
        whole = page
    if first is None:
        raise DamagedPictureError("begins like TIFF, but has no page")
    return whole or first


def _pages(content: bytes) -> Iterator[TiffPage]:
    """The pages in the order of the file."""
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    try:
        (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4)
        for number in range(MAX_PAGES):
            if not at:
                return
            tags, at = _directory(content, at, order, big)
            yield TiffPage(number, tags)
    except (struct.error, OverflowError):
        raise DamagedPictureError("begins like TIFF, but its header is damaged (a directory is cut short)") from None
    if at:
        raise UnsupportedPictureError(f"a TIFF of more than {MAX_PAGES} pages came; send one still picture")


def _directory(content: bytes, at: int, order: str, big: bool) -> tuple[dict[int, tuple[int, ...]], int]:
    """The tags of the page at an offset, and the offset of the next one; 0 after the last."""
    (n_tags,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", content, at)
    if n_tags > MAX_TAGS:
        raise UnsupportedPictureError(f"a TIFF of {n_tags} tags came, at most {MAX_TAGS} are taken")
    entry = struct.Struct(f"{order}HH{'Q8s' if big else 'I4s'}")
    at += 8 if big else 2
    tags = {}
    for _ in range(n_tags):
        tag, kind, count, inline = entry.unpack_from(content, at)
        at += entry.size
        if tag in READ_TAGS and kind in INTEGERS:
            tags[tag] = _values(content, f"{order}{min(count, MAX_VALUES)}{INTEGERS[kind]}", inline, order, big)
    (following,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, at)
    return tags, following


def _values(content: bytes, layout: str, inline: bytes, order: str, big: bool) -> tuple[int, ...]:
    """The values of a tag: in its entry where they fit, else where the entry points to."""
    if struct.calcsize(layout) <= len(inline):
        return struct.unpack_from(layout, inline)
    (place,) = struct.unpack(f"{order}{'Q' if big else 'I'}", inline)
    return struct.unpack_from(layout, content, place)
