"""What the first bytes of a picture say, without decoding a pixel: format, size, orientation and colours.

Orientation is how stored pixels are turned for display. JPEG, PNG, WebP and TIFF say it by the EXIF tag alone, as
browsers read it. HEIC and AVIF say it by their container (irot, imir); EXIF and XMP in them repeat it at best.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from lexiseg_model.errors import DamagedPictureError, PictureError, UnsupportedPictureError
from lexiseg_model.pictures.colours import (
    MAX_PROFILE_BYTES,
    SRGB,
    ColourSpace,
    space_of_heif,
    space_of_icc,
    space_of_png,
)
from lexiseg_model.pictures.structure import check_structure
from lexiseg_model.pictures.tiff import CAMERA_RAW, ORIENTATION, TiffPage, check_kind, picture_page

pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES  # of what is compressed: profiles and texts
Image.MAX_IMAGE_PIXELS = None  # callers compare the header's size with their own limit

# First bytes, by Pillow's name of the format.
MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),  # the last two: BigTIFF
}
# HEIC and AVIF share a container (ISO/IEC 14496-12): the first brand is the type, the others are compatible types.
BRANDS = {"AVIF": {b"avif"}, "HEIF": {b"heic", b"heix", b"heim", b"heis"}}
SEQUENCES = {b"avis", b"hevc", b"hevx"}  # first brands of image sequences
MAX_BRAND_BYTES = 256
RAW_BRAND = b"crx "
AS_STORED = 1
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap height and width
UPSIDE_DOWN = (3, 4, 7, 8)  # after that, rows are reversed
MIRRORED = (2, 3, 6, 7)  # and columns
STILL_FORMATS = "JPEG, PNG, WebP, HEIC, AVIF, BMP or TIFF"
# ORF, RW2, RAF, X3F, MRW. CR3 is a brand; other raw files of cameras are TIFF.
RAW_MAGIC = (b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FUJIFILMCCD-RAW", b"FOVb", b"\x00MRM")
# Further kinds that come, by their names in messages.
OTHERS = {
    "a GIF": (b"GIF87a", b"GIF89a"),
    "a JPEG 2000": (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"),
    "a JPEG XL": (b"\x00\x00\x00\x0cJXL ", b"\xff\x0a"),
    "a Photoshop file (PSD)": (b"8BPS",),
    "an OpenEXR file": (b"v/1\x01",),
}
DICOM_AT = 128  # where its first bytes stand, behind a preamble of anything
BOM, MAX_PROLOG_BYTES = b"\xef\xbb\xbf", 4096  # of SVG and HTML, before their root element
Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True)
class PictureHeader:
    """The header of a still picture."""

    format: str  # Pillow's name of it
    size: tuple[int, int]  # (height, width) of the upright picture
    orientation: int = AS_STORED  # 1 to 8 as in EXIF, of stored pixels; 1 of HEIC and AVIF: decoders follow containers
    page: TiffPage | None = None  # of a TIFF, the page that is the picture
    colours: ColourSpace | None = SRGB  # what the file says about them; None: other than sRGB, and not at hand

    @property
    def has_colours(self) -> bool:
        """Whether the file says that its colours are others than sRGB's; a field of the same name goes to workers."""
        return self.colours != SRGB

    @property
    def is_whole(self) -> bool:
        """Whether all that decoding needs is here: page and colours do not travel from gateway to worker."""
        return self.colours is not None and (self.format != "TIFF" or self.page is not None)

    @property
    def stored_size(self) -> tuple[int, int]:
        """(height, width) of the stored pixels."""
        return upright_size(self.size, self.orientation)


def read_header(content: bytes) -> PictureHeader:
    """Read the header of a still picture. Raises UnsupportedPictureError: it is of no format that is taken;
    DamagedPictureError: the header is damaged, or the file has too many parts."""
    kind = sniff(content)
    check_structure(content, kind)
    try:
        if kind == "TIFF":
            page = picture_page(content)
            check_kind(page)
            orientation = known_orientation(page.first(ORIENTATION, AS_STORED))
            size = upright_size(page.size, orientation)
            return PictureHeader(kind, size, orientation, page, space_of_icc(page.profile))
        if kind in BRANDS:  # libheif bounds what a container may hold; libavif takes seconds for a hostile one
            heif = pi_heif.open_heif(content)
            width, height = heif.size
            return PictureHeader(kind, (height, width), colours=space_of_heif(heif.info))
        return _by_pillow(content, kind)
    except PictureError:
        raise
    except Exception as error:  # parsers raise almost anything on a damaged file
        raise refusal_of(error, f"begins like {kind}, but its header is damaged") from None


def refusal_of(error: Exception, problem: str) -> DamagedPictureError:
    """The error of a picture at which a decoder fails; Pillow names its limits of a PNG's texts in words only."""
    if "MAX_TEXT" in str(error):
        return DamagedPictureError(f"a colour profile or texts of more than {MAX_PROFILE_BYTES:,} bytes came in a PNG")
    return DamagedPictureError(f"{problem} ({type(error).__name__})")


def _by_pillow(content: bytes, kind: str) -> PictureHeader:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged metadata is no reason to refuse or to log
        with Image.open(io.BytesIO(content), formats=[kind]) as picture:
            # A JPEG with a second picture inside (MPO, many phones) is a still image.
            if kind != "JPEG" and getattr(picture, "is_animated", False):
                raise UnsupportedPictureError(f"an animated {kind} came; send one still picture")
            orientation = orientation_of(picture)
            width, height = picture.size
            profile, colours = picture.info.get("icc_profile"), SRGB
            if kind == "PNG":
                colours = space_of_png(content, picture.info)
            elif profile:
                colours = space_of_icc(profile)
    return PictureHeader(kind, upright_size((height, width), orientation), orientation, colours=colours)


def sniff(content: bytes) -> str:
    """The format by the first bytes, under Pillow's name for it; errors as `read_header`."""
    for kind, beginnings in MAGIC.items():
        if content.startswith(beginnings) and (kind != "WEBP" or content[8:12] == b"WEBP"):
            return kind
    if content[4:8] == b"ftyp":
        return _sniff_brands(content)
    if not content:
        raise DamagedPictureError("the file is empty")
    if content.startswith(RAW_MAGIC):
        raise UnsupportedPictureError(CAMERA_RAW)
    if (name := _name_of_other(content)) is not None:
        raise UnsupportedPictureError(f"{name} came, which is not taken; send {STILL_FORMATS}, one still picture")
    raise UnsupportedPictureError(f"the first bytes are of no image type that is taken; send {STILL_FORMATS}")


def _sniff_brands(content: bytes) -> str:
    end = min(int.from_bytes(content[:4], "big"), MAX_BRAND_BYTES, len(content))
    first, others = content[8:12], {content[at : at + 4] for at in range(16, end, 4)}
    if first == RAW_BRAND:
        raise UnsupportedPictureError(CAMERA_RAW)
    if first in SEQUENCES:
        raise UnsupportedPictureError("a sequence of pictures came; send one still picture")
    for kind, brands in BRANDS.items():
        if brands & {first, *others}:
            return kind
    raise UnsupportedPictureError(f"a film or another kind of HEIF came; send {STILL_FORMATS}")


def _name_of_other(content: bytes) -> str | None:
    """What came in place of a picture that is taken; None: nothing that is known by its first bytes."""
    for name, beginnings in OTHERS.items():
        if content.startswith(beginnings):
            return name
    if content[DICOM_AT : DICOM_AT + 4] == b"DICM":
        return "a DICOM file"
    text = content[:MAX_PROLOG_BYTES].lower().removeprefix(BOM).lstrip()
    if text.startswith(b"<"):
        if re.search(rb"<(\w+:)?svg[\s>]", text):
            return "an SVG drawing"
        if re.search(rb"<(!doctype\s+html|html|head|body)[\s>]", text):
            return "an HTML page, as of a login or an error,"
    return None


def known_orientation(value: object) -> int:
    """A value of the tag as 1 to 8; anything else means "as stored"."""
    return value if isinstance(value, int) and 1 <= value <= 8 else AS_STORED


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(height, width) of the upright picture from that of the stored one; also the other way round."""
    return size[::-1] if orientation in SIDEWAYS else size


def upright(pixels: NDArray[Kind], orientation: int) -> NDArray[Kind]:
    """A view of stored pixels [h, w, ...] as they are displayed (EXIF 2.3, tag 0x0112)."""
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in UPSIDE_DOWN:
        pixels = pixels[::-1]
    if orientation in MIRRORED:
        pixels = pixels[:, ::-1]
    return pixels


def matrix_orientation(a: float, b: float, c: float, d: float) -> int:
    """The orientation that is nearest to a display matrix of a film: stored (x, y) is shown at (ax + cy, bx + dy)."""
    sideways = abs(b) + abs(c) > abs(a) + abs(d)
    mirrored, upside_down = (c < 0, b < 0) if sideways else (a < 0, d < 0)
    traits = {(value in SIDEWAYS, value in MIRRORED, value in UPSIDE_DOWN): value for value in range(1, 9)}
    return traits[sideways, mirrored, upside_down]


def exif_orientation(exif: bytes) -> int:
    """The orientation of an EXIF record, with or without its `Exif` prefix; "as stored" if it cannot be read."""
    record = Image.Exif()
    try:
        record.load(exif)
        return known_orientation(record.get(ORIENTATION))
    except Exception:  # the parser raises almost anything on damaged records
        return AS_STORED


def orientation_of(picture: Image.Image) -> int:
    """The orientation by the EXIF that an open picture carries before its pixels; its XMP never counts. Of AVIF this is
    what libavif read from the container: Pillow hands it on as EXIF."""
    if exif := picture.info.get("exif"):
        return exif_orientation(exif)
    lines = str(picture.info.get("Raw profile type exif", "")).split("\n")  # as ImageMagick writes it to PNG
    try:
        return exif_orientation(bytes.fromhex("".join(lines[3:])))
    except ValueError:
        return AS_STORED
