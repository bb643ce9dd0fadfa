"""Image files for the tests: photographs that come inside installed packages, and files made to be refused."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from skimage import data

from lexiseg_service.image import samples

ORIENTATION = 0x0112  # EXIF tag


@cache
def photograph(name: str) -> Image.Image:
    """china, flower, chelsea, coffee, astronaut or rocket; RGB."""
    if name in ("china", "flower"):
        return Image.fromarray(np.asarray(Image.open(io.BytesIO(file(f"{name}.jpg")))))
    return Image.fromarray(getattr(data, name)())


def file(name: str) -> bytes:
    """A sample photograph, as china.jpg or flower.jpg, which come in scikit-learn."""
    return samples.photograph(name)


def small(name: str = "china", side: int = 96) -> Image.Image:
    """A photograph whose longer side is `side`: quick to segment."""
    picture = photograph(name).copy()
    picture.thumbnail((side, side))
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def heic(picture: Image.Image, orientation: int | None = None) -> bytes:
    """The picture as phones send it; `orientation` as of EXIF, here the file's own."""
    import pillow_heif

    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation or 1
    pillow_heif.from_pillow(picture).save(buffer, quality=90, exif=exif.tobytes())
    return buffer.getvalue()


def with_size(boxed: bytes, width: int, height: int) -> bytes:
    """A HEIC or AVIF that says another size of its picture."""
    at = boxed.index(b"ispe") + 8
    return boxed.replace(boxed[at : at + 8], struct.pack(">II", width, height))


def turned(picture: Image.Image, orientation: int, kind: str = "PNG") -> bytes:
    """A file with an EXIF orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(picture, kind, exif=exif, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))


def turned_by_xmp(picture: Image.Image, orientation: int, kind: str = "PNG") -> bytes:
    """A file whose XMP alone has an orientation."""
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'
    if kind != "PNG":
        return encoded(picture, kind, xmp=xmp.encode())
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp)
    return encoded(picture, kind, pnginfo=texts)


def animated(kind: str) -> bytes:
    """Two frames."""
    return encoded(small("china"), kind, save_all=True, append_images=[small("flower")])


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(width: int, height: int, *chunks: bytes) -> bytes:
    """A 1-bit gray PNG by hand: header, then `chunks`, then the end."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


def bomb(side: int = 50_000) -> bytes:
    """A complete PNG, small as a file and gigabytes as pixels."""
    packer = zlib.compressobj(9)
    rows = bytes(100 * (1 + (side + 7) // 8))
    # After a full flush nothing is remembered: the same rows are the same bytes again.
    first, again = (packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    parts = side // 100
    zeros_checksum = struct.pack(">HH", parts * len(rows) % 65521, 1)  # Adler-32, RFC 1950
    content = first + again * (parts - 1) + zlib.compressobj(9, wbits=-15).flush() + zeros_checksum
    return png_of(side, side, png_chunk(b"IDAT", content))


def sixteen_bit(side: int = 64) -> Image.Image:
    """Gray, 16 bits: a ramp from black to white."""
    ramp = np.linspace(0, 65535, side).astype(np.uint16)
    return Image.fromarray(np.tile(ramp, (side, 1)))


def box(kind: bytes, body: bytes) -> bytes:
    """Of an AVIF."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def with_boxes(boxed: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """An AVIF in whose `meta` the first box of a kind is what `change` makes of it. Offsets of its data stay as they
    were: it is there to be looked at, not to be decoded."""
    meta = boxed.index(b"meta") - 4
    at = boxed.index(kind, meta) - 4
    end = at + int.from_bytes(boxed[at : at + 4], "big")
    changed = change(boxed[at:end])
    grown = bytearray(boxed[:at] + changed + boxed[end:])
    for holder in (b"meta", *((b"iprp",) if kind in (b"ipco", b"ipma") else ())):
        start = boxed.index(holder) - 4
        size = int.from_bytes(boxed[start : start + 4], "big") + len(changed) - (end - at)
        grown[start : start + 4] = struct.pack(">I", size)
    return bytes(grown)
