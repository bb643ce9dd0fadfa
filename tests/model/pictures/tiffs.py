"""TIFF files for the tests, written by tifffile, and by hand where it needs a codec that is not installed."""

import io
import struct
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

LONG = 4  # a type of values
Order = Literal["<", ">"]


def tiff(
    *pages: NDArray[Any],
    subfiles: tuple[int, ...] = (),
    order: Literal["<", ">"] = "<",
    bigtiff: bool = False,
    **options: Any,
) -> bytes:
    """One page for each array; `subfiles` are their NewSubfileType, 0 by default."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=bigtiff, byteorder=order) as writer:
        for number, page in enumerate(pages):
            kind = subfiles[number] if subfiles else 0
            writer.write(page, subfiletype=kind, contiguous=False, **options)
    return buffer.getvalue()


def with_beneath(page: NDArray[Any], *beneath: NDArray[Any], kinds: tuple[int, ...], bigtiff: bool = False) -> bytes:
    """A page with others in directories beneath it: [H, W, 3] are RGB, [H, W] a colour filter array.

    Args:
        kinds: the NewSubfileType of the page, and of those beneath.
    """
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=bigtiff) as writer:
        for number, pixels in enumerate((page, *beneath)):
            colours: Literal["rgb", "cfa"] = "rgb" if pixels.ndim == 3 else "cfa"
            below = 0 if number else len(beneath)
            writer.write(pixels, subfiletype=kinds[number], subifds=below, photometric=colours)
    return buffer.getvalue()


def packed(values: NDArray[np.integer], bits: int, order: str = "<") -> bytes:
    """A grey TIFF of samples [H, W] of 9 to 15 bits, packed as TIFF 6.0 says: rows begin at bytes."""
    height, width = values.shape
    rows = ((values[..., None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(height, -1)
    content = np.packbits(rows, axis=1).tobytes()
    return by_hand(content, {256: (width,), 257: (height,), 258: (bits,), 262: (1,), 277: (1,), 278: (height,)}, order)


def by_hand(content: bytes, tags: dict[int, tuple[int, ...]], order: str = "<") -> bytes:
    """A TIFF of one uncompressed strip with these tags of one value each."""
    entries = dict(sorted({259: (1,), 273: (8,), 279: (len(content),), **tags}.items()))
    table = b"".join(struct.pack(f"{order}HHII", tag, LONG, 1, value) for tag, (value,) in entries.items())
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(content))
    return head + content + struct.pack(f"{order}H", len(entries)) + table + bytes(4)
