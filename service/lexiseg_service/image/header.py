"""What an image says of itself before it is decoded: type, size, orientation. Refuses what must not be decoded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pi_heif
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from lexiseg_service.errors import InvalidValue, TooLarge, UndecodableImage, UnsupportedImage
from lexiseg_service.image.av1 import Frames, frames_of
from lexiseg_service.image.boxes import Damaged
from lexiseg_service.image.jpeg_scans import has_more_scans
from lexiseg_service.image.many_parts import EXIF, TooManyParts, check_directory, check_parts
from lexiseg_service.image.plain_jpeg import plain_size
from lexiseg_service.image.plain_pictures import plain_png_size, plain_webp_size
from lexiseg_service.settings import Limits

# Types by their first bytes; the decoder is told which one it may try.
MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\x00", b"MM\x00*"),
}
# Where it is soon told, (height, width) of a file that is turned in no way.
PLAIN = {"JPEG": plain_size, "PNG": plain_png_size, "WEBP": plain_webp_size}
# Of the boxes that HEIC and AVIF share (ISO/IEC 14496-12) the first names what the file is, and what it may be read as.
BRANDS = {"AVIF": {b"avif"}, "HEIF": {b"heic", b"heix", b"heim", b"heis"}}
MOVING = {b"avis", b"hevc", b"hevx"}  # as the first brand
LONGEST_BRANDS = 256  # bytes
TAKEN = "JPEG, PNG, WebP, HEIC, AVIF, BMP or TIFF"
ORIENTATION = 0x0112  # EXIF tag
IN_TEXT = "Raw profile type exif"  # a text of a PNG, in which some programs write EXIF
AS_STORED = 1
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap height and width
# Of a JPEG: each is another pass over its pixels. An honest one has a dozen, a large one has so few at least, and none
# has all its pixels painted over more often than together so many make.
MOST_SCANS, FEW_SCANS, MOST_PAINTED = 100, 25, 1_000_000_000
UNSEEN = 4  # times as many pixels as are seen may be in an AVIF: edges of a grid, transparency, a smaller picture
UNSEEN_ANYWHERE = 4_000_000  # and so many more: of a small grid nearly all are edges
MOST_READS = 10_000  # of an honest header: hundreds; one made of millions of empty chunks takes a parser minutes

# HEIC, decoded by libde265; what else a file may hold beside its picture is left alone.
pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
# Our own limit is checked on the header, before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_MEMORY = 2 * 2**20  # bytes of texts that are unpacked


class BoundedReader(io.BytesIO):
    """A file in memory that may be read so many times: Pillow's parsers take one part at a time."""

    def __init__(self, content: bytes, most_reads: int = MOST_READS) -> None:
        super().__init__(content)
        self._left = most_reads

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise TooManyParts("parts")
        return super().read(size)


@dataclass(frozen=True)
class ImageHeader:
    """`size` is (height, width) as shown, after EXIF rotation; `orientation` (EXIF, 1 to 8) is what decoding leaves."""

    format: str
    size: tuple[int, int]
    orientation: int


def read_header(image: bytes, limits: Limits) -> ImageHeader:
    """Reads the header only.

    Raises:
        UnsupportedImage: not a still image of a type that we take.
        UndecodableImage: the header is damaged.
        TooLarge: too many bytes or pixels.
        InvalidValue: a side is too short.
    """
    return read_at_once(image, limits) or _read_with_decoder(image, limits)


def read_at_once(image: bytes, limits: Limits) -> ImageHeader | None:
    """Likewise, of a file in which nothing is unusual, in some microseconds; None of all others, which may take tens of
    milliseconds.

    Raises:
        ServiceError: as `read_header`.
    """
    if len(image) > limits.max_image_bytes:
        raise TooLarge(f"image: {len(image):,} bytes came, at most {limits.max_image_bytes:,} are taken")
    kind = _sniff(image)
    size = PLAIN[kind](image) if kind in PLAIN else None
    if size is None:
        return None
    _check_size(size, limits)
    return ImageHeader(kind, size, AS_STORED)


def _read_with_decoder(image: bytes, limits: Limits) -> ImageHeader:
    kind = _sniff(image)
    frames = _frames(image) if kind == "AVIF" else Frames(0, 0)  # before any decoder sees it
    header = _parse(image, kind)
    height, width = header.size
    _check_size(header.size, limits)
    if frames.largest > limits.max_pixels:
        came = f"AV1 data of {frames.largest:,} pixels came"
        raise TooLarge(f"image: {came}, at most {limits.max_pixels:,} in all are taken")
    if frames.together > (most := UNSEEN * height * width + UNSEEN_ANYWHERE):
        came = f"AV1 data of {frames.together:,} pixels in all came"
        raise TooLarge(f"image: {came} for {width} x {height}, at most {most:,} are taken")
    if kind == "JPEG":
        _check_scans(image, height * width)
    return header


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    height, width = size
    if height * width > limits.max_pixels:
        raise TooLarge(f"image: {width} x {height} pixels came, at most {limits.max_pixels:,} in all are taken")
    if min(height, width) < limits.min_side:
        raise InvalidValue.of("image", f"{width} x {height} pixels", f"sides of at least {limits.min_side} pixels")


def most_scans(pixels: int) -> int:
    """That a JPEG of so many pixels may have."""
    return max(FEW_SCANS, min(MOST_SCANS, MOST_PAINTED // max(1, pixels)))


def _check_scans(image: bytes, pixels: int) -> None:
    most = most_scans(pixels)
    if has_more_scans(image, most):
        raise UndecodableImage(f"image: a JPEG of more than {most} scans came; save it anew")


def is_heic(image: bytes) -> bool:
    """Whether a file of boxes is to be read as HEIC; if not, it is AVIF, or none of ours."""
    with suppress(UnsupportedImage):
        return _sniff_boxes(image) == "HEIF"
    return False


def _sniff(image: bytes) -> str:
    for kind, beginnings in MAGIC.items():
        if image.startswith(beginnings) and (kind != "WEBP" or image[8:12] == b"WEBP"):
            return kind
    if image[4:8] == b"ftyp":
        return _sniff_boxes(image)
    if not image:
        raise UndecodableImage("image: the file is empty")
    if image.startswith((b"GIF87a", b"GIF89a")):
        raise UnsupportedImage(f"image: GIF is not taken; send {TAKEN}, one still picture")
    raise UnsupportedImage(f"image: the first bytes are of no image type that is taken; send {TAKEN}")


def _sniff_boxes(image: bytes) -> str:
    end = min(int.from_bytes(image[:4], "big"), LONGEST_BRANDS, len(image))
    first, others = image[8:12], {image[at : at + 4] for at in range(16, end, 4)}
    if first in MOVING:
        raise UnsupportedImage("image: a sequence of pictures came; send one still picture")
    for kind, brands in BRANDS.items():
        if brands & {first, *others}:
            return kind
    raise UnsupportedImage(f"image: a film or another kind of HEIF came; send {TAKEN}")


def _frames(image: bytes) -> Frames:
    try:
        return frames_of(image)
    except Damaged as error:
        raise UndecodableImage(f"image: begins like AVIF, but its data is damaged ({error})") from None


def _count(image: bytes, kind: str) -> None:
    with refusing_swarms(kind):
        check_parts(image, kind)


@contextmanager
def refusing_swarms(kind: str) -> Iterator[None]:
    """Says of a file that has too many parts what its sender can do.

    Raises:
        UndecodableImage: it has.
    """
    try:
        yield
    except TooManyParts as error:
        raise UndecodableImage(f"image: a {kind} of {error} came; save it anew") from None


def _parse(image: bytes, kind: str) -> ImageHeader:
    _count(image, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is no reason to refuse or to log
            with Image.open(BoundedReader(image), formats=[kind]) as picture:
                # A JPEG with a second picture inside (MPO, many phones) is a still; the first one is meant.
                # Of a HEIC with several the primary one.
                # Not n_frames, which walks through every page of a TIFF.
                animated = kind not in ("JPEG", "HEIF") and bool(getattr(picture, "is_animated", False))
                orientation = _orientation(picture)
                width, height = picture.size
    except UnidentifiedImageError:
        raise UndecodableImage(f"image: begins like {kind}, but its header cannot be read") from None
    except Exception as error:  # a damaged file makes the parsers raise almost anything
        raise UndecodableImage(
            f"image: begins like {kind}, but its header is damaged ({type(error).__name__})"
        ) from None
    if animated:
        raise UnsupportedImage(f"image: an animated or many-page {kind} came; send one still picture")
    size = (width, height) if orientation in SIDEWAYS else (height, width)
    return ImageHeader(kind, size, orientation)


def _orientation(picture: Image.Image) -> int:
    if picture.format == "TIFF":  # Pillow turns these itself, and tells their size as turned
        return AS_STORED
    try:
        if "exif" not in picture.info and IN_TEXT in picture.info:  # as Pillow reads it, but counted first
            picture.info["exif"] = bytes.fromhex("".join(picture.info[IN_TEXT].split("\n")[3:]))
        check_directory(picture.info.get("exif", b"").removeprefix(EXIF))
        # The base class's: PNG's own decodes the picture first, to look for EXIF behind the pixels.
        value = Image.Image.getexif(picture).get(ORIENTATION, AS_STORED)
    except Exception:  # EXIF is a courtesy: an unreadable block means "as stored"
        return AS_STORED
    return value if isinstance(value, int) and 1 <= value <= 8 else AS_STORED
