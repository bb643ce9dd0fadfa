"""Encode arrays as PNG and decode gray PNG (W3C, third edition) with only numpy and zlib."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import UnreadableAnswer

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, INDEXED = 0, 3
COLOUR_TYPES = {1: GRAY, 2: 4, 3: 2, 4: 6}  # by number of channels
LEVEL = 1  # zlib's fastest: several times faster than the default, files a little larger
SUB, UP = 1, 2  # filters of rows: a server writes UP, and `encode` SUB; 0 is none


def encode(pixels: NDArray[np.uint8] | NDArray[np.uint16], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Encode pixels [H, W] or [H, W, C] as PNG; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA; 8 or 16 bits.

    With a palette [256, 3], pixels [H, W] of 8 bits are places in it.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    step = channels * pixels.itemsize
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = SUB
    lines[:, 1 : 1 + step] = rows[:, :step]
    np.subtract(rows[:, step:], rows[:, :-step], out=lines[:, 1 + step :])
    colour_type = COLOUR_TYPES[channels] if palette is None else INDEXED
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour_type, 0, 0, 0)
    content = zlib.compress(lines.data, LEVEL)
    colours = b"" if palette is None else _chunk(b"PLTE", palette.tobytes())
    return SIGNATURE + _chunk(b"IHDR", header) + colours + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def decode_gray(content: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode a gray PNG of 8 or 16 bits, as servers write label maps and confidence, to pixels [H, W]."""
    try:
        width, height, bits, colour, interlaced, packed = _read_chunks(content)
        if colour != GRAY or bits not in (8, 16) or interlaced:
            raise UnreadableAnswer(f"expected a gray PNG of 8 or 16 bits, got colour type {colour} of {bits} bits")
        step = bits // 8
        lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * step)
    except (struct.error, zlib.error, ValueError) as error:
        raise UnreadableAnswer(f"the PNG of a map cannot be read: {error}") from None
    rows = _unfiltered(lines[:, 0], lines[:, 1:], step)
    if step == 1:
        return rows
    pixels: NDArray[np.uint16] = rows.view(">u2").astype(np.uint16)
    return pixels


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _read_chunks(content: bytes) -> tuple[int, int, int, int, int, bytes]:
    if not content.startswith(SIGNATURE):
        raise ValueError("not a PNG")
    offset = len(SIGNATURE)
    header = b""
    packed: list[bytes] = []
    while True:
        length, name = struct.unpack_from(">I4s", content, offset)
        body = content[offset + 8 : offset + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, offset + 8 + length)
        if zlib.crc32(name + body) != checksum:
            raise ValueError("wrong checksum")
        offset += 12 + length
        if name == b"IHDR":
            header = body
        elif name == b"IDAT":
            packed.append(body)
        elif name == b"IEND":
            break
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    return width, height, bits, colour, interlaced, b"".join(packed)


def _unfiltered(filters: NDArray[np.uint8], lines: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Undo each row's filter; `lines` and the result are [H, W * step], `step` is the bytes of a pixel."""
    if filters.max() > UP:
        raise UnreadableAnswer(f"expected PNG filters 0 to {UP}, got {filters.max()}")
    rows: NDArray[np.uint8] = lines.copy()
    above = np.zeros_like(rows[0])
    for row, filter_type in zip(rows, filters.tolist(), strict=True):
        if filter_type == SUB:
            pixels = row.reshape(-1, step)
            np.cumsum(pixels, 0, out=pixels, dtype=np.uint8)
        elif filter_type == UP:
            row += above
        above = row
    return rows
