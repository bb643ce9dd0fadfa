"""Image headers: type, size and orientation of a file, and the limits that hold before any pixel is decoded.

The first bytes tell the type, which must be allowed; the file's size and its pixels are compared with the limits. All
other checks are the decoders' own. Decoding happens in the worker.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass

import pi_heif
from PIL import Image

from lexiseg_service.errors import InvalidValue, TooLarge, UndecodableImage, UnsupportedImage
from lexiseg_service.settings import Limits

# Allowed types by their first bytes, under Pillow's names.
MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\x00", b"MM\x00*"),
}
# File name extensions.
SUFFIXES = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "BMP": "bmp",
    "TIFF": "tif",
    "HEIF": "heic",
    "AVIF": "avif",
}
# HEIC and AVIF share a container (ISO/IEC 14496-12): the first brand is the type, the others are compatible types.
BRANDS = {"AVIF": {b"avif"}, "HEIF": {b"heic", b"heix", b"heim", b"heis"}}
SEQUENCES = {b"avis", b"hevc", b"hevx"}  # first brands of image sequences
MAX_BRAND_BYTES = 256
STILL_FORMATS = "JPEG, PNG, WebP, HEIC, AVIF, BMP or TIFF"
ORIENTATION = 0x0112  # EXIF tag
AS_STORED = 1
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap height and width

pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
Image.MAX_IMAGE_PIXELS = None  # our own limit is checked instead


@dataclass(frozen=True)
class ImageHeader:
    """`size` is (height, width) after EXIF rotation; `orientation` (EXIF, 1 to 8) must be applied after decoding."""

    format: str
    size: tuple[int, int]
    orientation: int


def read_header(image: bytes, limits: Limits) -> ImageHeader:
    """Read the header of a still image and check it against the limits.

    Raises:
        UnsupportedImage: not a still image of an allowed type.
        UndecodableImage: the header is damaged.
        TooLarge: too many bytes or pixels.
        InvalidValue: a side is too short.
    """
    if len(image) > limits.max_image_bytes:
        raise TooLarge(f"image: {len(image):,} bytes came, at most {limits.max_image_bytes:,} are taken")
    kind = sniff(image)
    header = _parse(image, kind)
    height, width = header.size
    if height * width > limits.max_pixels:
        raise TooLarge(f"image: {width} x {height} pixels came, at most {limits.max_pixels:,} in all are taken")
    if min(height, width) < limits.min_side:
        raise InvalidValue.of("image", f"{width} x {height} pixels", f"sides of at least {limits.min_side} pixels")
    return header


def sniff(image: bytes) -> str:
    """The type by the first bytes, under Pillow's name for it.

    Raises:
        UnsupportedImage: not a still image of an allowed type.
        UndecodableImage: the file is empty.
    """
    for kind, beginnings in MAGIC.items():
        if image.startswith(beginnings) and (kind != "WEBP" or image[8:12] == b"WEBP"):
            return kind
    if image[4:8] == b"ftyp":
        return _sniff_brands(image)
    if not image:
        raise UndecodableImage("image: the file is empty")
    if image.startswith((b"GIF87a", b"GIF89a")):
        raise UnsupportedImage(f"image: GIF is not taken; send {STILL_FORMATS}, one still picture")
    raise UnsupportedImage(f"image: the first bytes are of no image type that is taken; send {STILL_FORMATS}")


def _sniff_brands(image: bytes) -> str:
    end = min(int.from_bytes(image[:4], "big"), MAX_BRAND_BYTES, len(image))
    first, others = image[8:12], {image[at : at + 4] for at in range(16, end, 4)}
    if first in SEQUENCES:
        raise UnsupportedImage("image: a sequence of pictures came; send one still picture")
    for kind, brands in BRANDS.items():
        if brands & {first, *others}:
            return kind
    raise UnsupportedImage(f"image: a film or another kind of HEIF came; send {STILL_FORMATS}")


def _parse(image: bytes, kind: str) -> ImageHeader:
    try:
        if kind in BRANDS:  # libheif bounds what a container may hold; libavif takes seconds for a hostile one
            width, height = pi_heif.open_heif(image).size
            return ImageHeader(kind, (height, width), AS_STORED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is no reason to refuse or to log
            with Image.open(io.BytesIO(image), formats=[kind]) as picture:
                # A JPEG with a second picture inside (MPO, many phones) is a still image.
                # Not n_frames, which walks through every page of a TIFF.
                animated = kind != "JPEG" and bool(getattr(picture, "is_animated", False))
                orientation = orientation_of(picture)
                width, height = picture.size
    except Exception as error:  # parsers raise almost anything on a damaged file
        raise UndecodableImage(
            f"image: begins like {kind}, but its header is damaged ({type(error).__name__})"
        ) from None
    if animated:
        raise UnsupportedImage(f"image: an animated or many-page {kind} came; send one still picture")
    return ImageHeader(kind, (width, height) if orientation in SIDEWAYS else (height, width), orientation)


def orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, to apply to decoded pixels; 1 if EXIF is unreadable."""
    if picture.format == "TIFF":  # Pillow applies it itself
        return AS_STORED
    try:
        # The method of the base class: PNG's own one decodes the pixels to find EXIF after them.
        value = Image.Image.getexif(picture).get(ORIENTATION, AS_STORED)
    except Exception:
        return AS_STORED
    return value if isinstance(value, int) and 1 <= value <= 8 else AS_STORED


def image_id_of(image: bytes) -> str:
    """The id of an image: 128 bits of its SHA-256, in hexadecimal."""
    return hashlib.sha256(image).hexdigest()[:32]
