"""Which page of a TIFF is the picture, and the kinds of pages that are taken.

Raw files of cameras are TIFF, too: a preview in the first page, the sensor's values in a directory beneath it.
"""

from __future__ import annotations

import struct

from lexiseg_model.errors import DamagedPictureError, UnsupportedPictureError
from lexiseg_model.pictures import tiff
from lexiseg_model.pictures.tiff import TiffPage

MAX_SAMPLE_BYTES = 512 << 20  # of a deep picture: 40 megapixels of float RGB
MAX_TILE_PIXELS = 1 << 22  # of a tile of a small picture
# What Pillow's libtiff decompresses; WebP is in some builds alone.
READABLE = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000}
COLOURS = {tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO, tiff.RGB, tiff.PALETTE, tiff.CMYK, tiff.YCBCR}
MAX_SAMPLES = {tiff.RGB: 4, tiff.CMYK: 4, tiff.YCBCR: 3}  # of deep pages; of other colours 1
CAMERA_RAW = "a camera's raw file came, which a program has to develop first; send the developed JPEG, PNG or TIFF"
CR2 = b"CR\x02"  # behind the head of a TIFF


def picture_page(content: bytes) -> TiffPage:
    """The page that is the picture: overviews, thumbnails and masks of it do not count.

    Raises:
        DamagedPictureError: the directories cannot be read.
        UnsupportedPictureError: the file holds several pictures, a camera's raw data, or no page that is the picture.
    """
    try:
        pages = list(tiff.pages_of(content))
    except (struct.error, OverflowError):
        raise DamagedPictureError("begins like TIFF, but its header is damaged (a directory is cut short)") from None
    if not pages:
        raise DamagedPictureError("begins like TIFF, but has no page")
    whole = [page for page in pages if not page.is_extra]
    picture = whole[0] if whole else max(pages, key=lambda page: page.pixels)
    beneath = list(tiff.pages_beneath(content, pages))
    if content.startswith(CR2, 8) or any(page.is_raw for page in (*pages, *beneath)):
        raise UnsupportedPictureError(CAMERA_RAW)
    if len(whole) > 1:
        raise UnsupportedPictureError("a many-page TIFF came; send one still picture")
    largest = max(beneath, key=lambda page: page.pixels, default=picture)
    if largest.pixels > picture.pixels:
        raise UnsupportedPictureError(
            f"a TIFF came whose page of {picture.shown_size} pixels is the preview of one of {largest.shown_size} "
            "in a directory beneath it, which is not read; save that as a page of its own"
        )
    return picture


def check_kind(page: TiffPage) -> None:
    """Refuse kinds of pages that no decoder here reads right. Raises UnsupportedPictureError: names the kind."""
    compression, photometric = page.first(tiff.COMPRESSION, 1), page.photometric
    name = tiff.PHOTOMETRICS.get(photometric, str(photometric))
    problem = ""
    if compression not in READABLE:
        problem = f"{tiff.COMPRESSIONS.get(compression, f'number {compression}')} compression"
    elif photometric not in COLOURS:
        problem = f"{name} colours"
    elif page.sample_format == tiff.FLOAT and page.bits not in (32, 64):
        problem = f"floats of {page.bits} bits"
    elif page.samples > MAX_SAMPLES.get(photometric, 1) and page.is_deep:
        problem = f"{page.samples} deep samples a pixel"
    elif page.samples > 2 and photometric in (tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO):
        problem = f"{page.samples} bands without colours"
    elif page.is_planar and page.is_deep:
        problem = "deep samples in separate planes"
    elif page.is_deep and page.sample_bytes > MAX_SAMPLE_BYTES:
        problem = f"{page.sample_bytes >> 20} MiB of deep samples"
    elif page.tile_pixels > max(MAX_TILE_PIXELS, 2 * page.pixels):
        problem = f"tiles of {page.tile_pixels:,} pixels"
    if problem:
        raise UnsupportedPictureError(f"a TIFF with {problem} is not taken ({page}); save it as RGB or grey with LZW")
