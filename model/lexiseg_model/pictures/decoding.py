"""Decode all that is no plain JPEG: by Pillow, and deep colours that it has no mode for by OpenCV.

Pillow keeps the upper 8 of 16 bits of colours. The nominal range is 0 to 2^bits - 1 of unsigned samples, 0 to 1 of
floating point ones. A picture that uses less than a quarter of it holds fewer bits than its header says, and signed
samples or larger floats have no nominal range: such pictures are stretched by their own range, with a note.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lexiseg_model.errors import DamagedPictureError, PictureError, UnsupportedPictureError
from lexiseg_model.pictures import tiff
from lexiseg_model.pictures.bands import bands
from lexiseg_model.pictures.colours import GUESSED_DEPTH, SRGB, Note
from lexiseg_model.pictures.conversion import inks_to_srgb, to_srgb
from lexiseg_model.pictures.header import AS_STORED, PictureHeader, orientation_of, refusal_of, upright_size
from lexiseg_model.pictures.tiff import TiffPage

FAST_JPEG_MODES = ("RGB", "L")  # modes that libjpeg-turbo decodes, unless the file is damaged
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}  # modes that convert to their twins alone

PNG_DEPTH_AT = 24  # IHDR is the first chunk; its ninth byte is the depth
COLOUR_MODES = ("RGB", "RGBA", "LA")
OPENCV_COMPRESSIONS = (1, 5, 8, 32773, 32946)  # of its libtiff; of others it makes noise instead of an error
FLOATS = (32, 64)  # bits
MIN_USED = 0.25  # of the nominal range, below which a picture holds fewer bits than its header says
WHITE = 255

Noted = tuple[Image.Image, tuple[Note, ...]]


def decode(
    content: bytes, header: PictureHeader, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], int, tuple[Note, ...]]:
    """[h, w, 3], their orientation, and notes; of a JPEG at least of `size` (height, width) as stored."""
    try:
        with warnings.catch_warnings(action="ignore"):
            rgb, orientation, notes = _decode(content, header, size)
    except PictureError:
        raise
    except Exception as error:  # the decoders raise almost anything on damaged data
        raise refusal_of(error, f"{header.format} data is damaged or cut short") from None
    if header.format != "JPEG" and upright_size(rgb.shape[:2], orientation) != header.size:
        raise DamagedPictureError(f"{header.format} data of another size than its header says")
    return rgb, orientation, notes


def _decode(
    content: bytes, header: PictureHeader, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], int, tuple[Note, ...]]:
    page, space = header.page, header.colours or SRGB
    notes: tuple[Note, ...] = ()
    try:
        opened = Image.open(io.BytesIO(content), formats=[header.format])
    except UnidentifiedImageError:
        if page is None:
            raise
        viewable, notes = _colours(content, header)  # Pillow has no mode for them
        rgb = to_rgb(viewable)
        return rgb, AS_STORED, (*notes, *(to_srgb(rgb, space) if space.profile else space.notes))
    with opened as picture:
        if page is not None:
            picture.seek(page.number)
        if header.format == "JPEG" and picture.mode in FAST_JPEG_MODES:
            # A damaged file takes no longer than a good one.
            picture.draft(None, size[::-1])
        picture.load()
        # Of TIFF, Pillow applies it itself; of AVIF, it hands on that of the container.
        orientation = {"TIFF": AS_STORED, "AVIF": orientation_of(picture)}.get(header.format, header.orientation)
        viewable = picture
        is_deep = picture.mode in ("I", "F") or picture.mode.startswith("I;16")
        if is_deep or (picture.mode == "L" and _is_signed(page)):
            viewable, notes = _grey(picture, page)
        elif _is_dim(picture, content, header):
            viewable, notes = _brightened(picture, content, header)
        inks = inks_to_srgb(viewable, space) if viewable.mode == "CMYK" else None
        rgb = to_rgb(viewable) if inks is None else inks
        notes += space.notes if inks is not None or not space.profile else to_srgb(rgb, space)
        return rgb, orientation, notes


def to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """A loaded picture of any mode of 8 bits as [H, W, 3]. In bands, which bounds the memory of intermediates."""
    width, height = picture.size
    rgb = np.empty((height, width, 3), np.uint8)
    has_alpha = picture.has_transparency_data
    is_seen = has_alpha and any(band.convert("RGBA").getchannel("A").getbbox() for _, band in _cut(picture))
    for rows, band in _cut(picture):
        if is_seen:
            band = Image.alpha_composite(Image.new("RGBA", band.size, "white"), band.convert("RGBA"))
        rgb[rows] = np.asarray(band.convert("RGB"))
    return rgb


def _cut(picture: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    width, height = picture.size
    for rows in bands((height, width)):
        band = picture.crop((0, rows.start, width, rows.stop))
        yield rows, band.convert(PREMULTIPLIED.get(band.mode, band.mode))


def _grey(picture: Image.Image, page: TiffPage | None) -> Noted:
    """A deep grey picture as one of 8 bits; what is transparent is white."""
    values = np.asarray(picture)
    top: float | None = 65535.0
    if picture.mode == "F":
        top = 1.0
    elif _is_signed(page):
        values, top = values if picture.mode == "I" else values.view(np.int8), None
    elif page is not None:
        values, top = values.view(np.uint32) if picture.mode == "I" else values, 2.0**page.bits - 1
    shallow, notes = to_eight_bits(values, top, page is not None and page.photometric == tiff.WHITE_IS_ZERO)
    transparent = picture.info.get("transparency")  # of PNG, one value
    if isinstance(transparent, int) and not (hidden := values == transparent).all():
        shallow[hidden] = 255
    return Image.fromarray(shallow), notes


def _is_signed(page: TiffPage | None) -> bool:
    return page is not None and page.sample_format == tiff.SIGNED


def _is_dim(picture: Image.Image, content: bytes, header: PictureHeader) -> bool:
    """Whether an open picture has 16 bits a colour by its header, and uses few of the values."""
    bits = content[PNG_DEPTH_AT] if header.format == "PNG" else 8 if header.page is None else header.page.bits
    if bits != 16 or picture.mode not in COLOUR_MODES:
        return False
    channels = picture.split()[: 1 if picture.mode == "LA" else 3]
    return max(int(np.asarray(channel).max()) for channel in channels) < MIN_USED * 256


def _brightened(picture: Image.Image, content: bytes, header: PictureHeader) -> Noted:
    """A picture of 16 bits a colour that holds fewer, stretched by its own range."""
    if header.page is None or _can_opencv(header.page):
        return _colours(content, header)
    pixels = np.asarray(picture.convert("RGBA"))
    shallow, notes = to_eight_bits(pixels[..., :3], 255.0)
    return Image.fromarray(np.dstack([shallow, pixels[..., 3]])), notes


def _colours(content: bytes, header: PictureHeader) -> Noted:
    """Deep samples of a PNG as stored, or of a TIFF upright, as 8 bits a sample."""
    page = header.page
    if page is not None and not _can_opencv(page):
        raise UnsupportedPictureError(f"a TIFF of this kind is not taken ({page}); save it in 8 bits")
    values = _decoded(content, 0 if page is None else page.number)
    top = {"i": None, "f": 1.0}.get(values.dtype.kind, 2.0 ** (8 * values.dtype.itemsize) - 1)
    white_is_zero = page is not None and page.photometric == tiff.WHITE_IS_ZERO
    if values.ndim == 2:
        shallow, notes = to_eight_bits(values, top, white_is_zero)
        return Image.fromarray(shallow), notes
    shallow, notes = to_eight_bits(values[..., 2::-1], top)
    if values.shape[2] == 4 and (page is None or page.first(tiff.EXTRA_SAMPLES, 0) in tiff.ALPHA):
        shallow = np.dstack([shallow, to_eight_bits(values[..., 3], top)[0]])
    return Image.fromarray(shallow), notes


def _decoded(content: bytes, page: int) -> NDArray[Any]:
    """[H, W] or, as BGR or BGRA, [H, W, C]."""
    try:
        import cv2  # a gateway does without
    except ImportError:
        raise UnsupportedPictureError("deep colours are not decoded here; save them in 8 bits") from None
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # its errors are raised here
    encoded = np.frombuffer(content, np.uint8)
    if not page:
        values = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    else:
        _, pages = cv2.imdecodemulti(encoded, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
        values = pages[0] if pages else None
    if values is None:
        raise ValueError("no pixels")
    return values


def _can_opencv(page: TiffPage) -> bool:
    """Whether OpenCV reads the deep samples of a page right."""
    return (
        page.is_deep
        and not page.is_planar
        and page.first(tiff.COMPRESSION, 1) in OPENCV_COMPRESSIONS
        and page.samples in ((3, 4) if page.photometric == tiff.RGB else (1,))
        and page.photometric in (tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO, tiff.RGB)
        and (page.sample_format != tiff.FLOAT or page.bits in FLOATS)
    )


def to_eight_bits(
    values: NDArray[Any], top: float | None, white_is_zero: bool = False
) -> tuple[NDArray[np.uint8], tuple[Note, ...]]:
    """Scale samples [H, W] or [H, W, C] to 0..255, with a note if they were stretched by the picture's own range.

    `top` is the largest nominal value, None: there is no nominal range. What is no number becomes the lowest value.
    """
    low, high = _range(values)
    stretched = low < high and (top is None or low < 0 or not MIN_USED * top <= high <= top)
    if not stretched:
        low, high = 0.0, top or max(1.0, abs(high))
    scaled = np.empty(values.shape, np.uint8)
    for rows in bands(values.shape[:2]):
        if not stretched and values.dtype.kind == "u":
            scaled[rows] = values[rows] >> (round(math.log2(high + 1)) - 8)
            continue
        band = np.nan_to_num(values[rows].astype(np.float64), nan=low, posinf=high, neginf=low)
        # Equal parts of the range, as the upper 8 bits are.
        scaled[rows] = ((band - low) * ((WHITE + 1) / (high - low))).clip(0, WHITE)
    if white_is_zero:
        np.subtract(WHITE, scaled, out=scaled)
    text = (
        f"values of {low:,.6g} to {high:,.6g} ({values.dtype.name}) were stretched to 0 to 255, as the file does not "
        "say which are black and white; send 8 bits to decide that yourself"
    )
    return scaled, (Note(GUESSED_DEPTH, text),) if stretched else ()


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """The lowest and the highest finite value; (0, 0) if there is none."""
    if values.dtype.kind != "f":
        return float(values.min()), float(values.max())
    lows, highs = [], []
    for rows in bands(values.shape[:2]):
        finite = values[rows][np.isfinite(values[rows])]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    return min(lows, default=0.0), max(highs, default=0.0)
