"""Deep pictures: grey in the modes that Pillow has for it, and all that Pillow has no mode for by OpenCV.

Pillow keeps the upper 8 of 16 bits of colours. That is the picture, unless it holds fewer bits than its header says.

The header says the nominal range: 0 to 2^bits - 1 of unsigned samples, 0 to 1 of floating point ones. A picture that
uses less than a quarter of it holds fewer bits than its header says, and signed samples or larger floats have no
nominal range: such pictures are stretched by their own range, with a note.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.errors import UnsupportedPictureError
from lexiseg_model.pictures import tiff
from lexiseg_model.pictures.bands import bands as bands_of
from lexiseg_model.pictures.header import PictureHeader
from lexiseg_model.pictures.note import GUESSED_DEPTH, Note
from lexiseg_model.pictures.tiff import TiffPage

PNG_DEPTH_AT = 24  # IHDR is the first chunk; its ninth byte is the depth
COLOUR_MODES = ("RGB", "RGBA", "LA")
OPENCV_COMPRESSIONS = (1, 5, 8, 32773, 32946)  # of its libtiff; of others it makes noise instead of an error
FLOATS = (32, 64)  # bits
MIN_USED = 0.25  # of the nominal range, below which a picture holds fewer bits than its header says
WHITE = 255

Noted = tuple[Image.Image, tuple[Note, ...]]


def is_deep_grey(picture: Image.Image, page: TiffPage | None) -> bool:
    """Whether an open picture is grey of more than 8 bits, signed or floating point."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16") or (picture.mode == "L" and _is_signed(page))


def grey(picture: Image.Image, page: TiffPage | None) -> Noted:
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


def is_dim(picture: Image.Image, content: bytes, header: PictureHeader) -> bool:
    """Whether an open picture has 16 bits a colour by its header, and uses few of the values."""
    bits = content[PNG_DEPTH_AT] if header.format == "PNG" else 8 if header.page is None else header.page.bits
    if bits != 16 or picture.mode not in COLOUR_MODES:
        return False
    bands = picture.split()[: 1 if picture.mode == "LA" else 3]
    return max(int(np.asarray(band).max()) for band in bands) < MIN_USED * 256


def brightened(picture: Image.Image, content: bytes, header: PictureHeader) -> Noted:
    """A picture of 16 bits a colour that holds fewer, stretched by its own range."""
    if header.page is None or can_opencv(header.page):
        return colours(content, header)
    pixels = np.asarray(picture.convert("RGBA"))
    shallow, notes = to_eight_bits(pixels[..., :3], 255.0)
    return _image(shallow, pixels[..., 3]), notes


def colours(content: bytes, header: PictureHeader) -> Noted:
    """Deep samples of a PNG as stored, or of a TIFF upright, as 8 bits a sample.

    Raises:
        UnsupportedPictureError: OpenCV cannot read them.
    """
    page = header.page
    if page is not None and not can_opencv(page):
        raise UnsupportedPictureError(f"a TIFF of this kind is not taken ({page}); save it in 8 bits")
    values = _decoded(content, 0 if page is None else page.number)
    top = {"i": None, "f": 1.0}.get(values.dtype.kind, 2.0 ** (8 * values.dtype.itemsize) - 1)
    white_is_zero = page is not None and page.photometric == tiff.WHITE_IS_ZERO
    if values.ndim == 2:
        shallow, notes = to_eight_bits(values, top, white_is_zero)
        return Image.fromarray(shallow), notes
    shallow, notes = to_eight_bits(values[..., 2::-1], top)
    alpha = None
    if values.shape[2] == 4 and (page is None or page.has_alpha):
        alpha, _ = to_eight_bits(values[..., 3], top)
    return _image(shallow, alpha), notes


def _decoded(content: bytes, page: int) -> NDArray[Any]:
    """[H, W] or, as BGR or BGRA, [H, W, C] of any number type."""
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


def can_opencv(page: TiffPage) -> bool:
    """Whether OpenCV reads the deep samples of a page right."""
    return (
        page.is_deep
        and not page.is_planar
        and page.first(tiff.COMPRESSION, 1) in OPENCV_COMPRESSIONS
        and page.samples in ((3, 4) if page.photometric == tiff.RGB else (1,))
        and page.photometric in (tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO, tiff.RGB)
        and (page.sample_format != tiff.FLOAT or page.bits in FLOATS)
    )


def _image(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8] | None) -> Image.Image:
    return Image.fromarray(rgb if alpha is None else np.dstack([rgb, alpha]))


def to_eight_bits(
    values: NDArray[Any], top: float | None, white_is_zero: bool = False
) -> tuple[NDArray[np.uint8], tuple[Note, ...]]:
    """Scale samples [H, W] or [H, W, C] to 0..255, with a note if they were stretched by the picture's own range.

    `top` is the largest nominal value, None if there is no nominal range; `white_is_zero`: large is dark. What is no
    number becomes the lowest value. In bands, which bounds the memory of intermediates.
    """
    low, high = _range(values)
    stretched = low < high and (top is None or low < 0 or not MIN_USED * top <= high <= top)
    if not stretched:
        low, high = 0.0, top or max(1.0, abs(high))
    scaled = np.empty(values.shape, np.uint8)
    for rows in bands_of(values.shape[:2]):
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
    for rows in bands_of(values.shape[:2]):
        finite = values[rows][np.isfinite(values[rows])]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    return min(lows, default=0.0), max(highs, default=0.0)
