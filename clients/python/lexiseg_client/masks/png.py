"""Encode arrays as PNG and decode gray PNG (W3C, third edition) with numpy and zlib alone."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.errors import UnreadableAnswer

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY = 0
COLOUR_TYPES = {1: GRAY, 2: 4, 3: 2, 4: 6}  # by number of channels
LEVEL = 1  # zlib's fastest: several times faster than the default, files a little larger
NONE, SUB, UP, AVERAGE, PAETH = range(5)


def encode(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Encode pixels [H, W] or [H, W, C] as PNG; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA; 8 or 16 bits."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    step = channels * pixels.itemsize
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = SUB
    lines[:, 1 : 1 + step] = rows[:, :step]
    np.subtract(rows[:, step:], rows[:, :-step], out=lines[:, 1 + step :])
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, COLOUR_TYPES[channels], 0, 0, 0)
    content = zlib.compress(lines.data, LEVEL)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def decode_gray(content: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode a gray, non-interlaced PNG of 8 or 16 bits (label map, confidence) to pixels [H, W].

    Raises:
        UnreadableAnswer: a damaged file, or another kind of PNG.
    """
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
    if filters.max() > PAETH:
        raise UnreadableAnswer(f"expected PNG filters 0 to {PAETH}, got {filters.max()}")
    if (filters >= AVERAGE).any():
        return _by_diagonals(filters, lines, step)
    rows: NDArray[np.uint8] = lines.copy()
    for row, filter_type in enumerate(filters):
        if filter_type == SUB:
            pixels = rows[row].reshape(-1, step)
            np.cumsum(pixels, 0, out=pixels, dtype=np.uint8)
        elif filter_type == UP and row:
            rows[row] += rows[row - 1]
    return rows


def _by_diagonals(filters: NDArray[np.uint8], lines: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Undo any filters; a pixel may depend on its left, upper and upper left neighbours.

    Pixels on one rising diagonal are independent, so each iteration handles a whole diagonal.
    """
    height, width = len(lines), lines.shape[1] // step
    # Padded with a row and a column of zeros for missing neighbours: [H + 1, W + 1, step].
    padded = np.zeros((height + 1, width + 1, step), np.int16)
    padded[1:, 1:] = lines.reshape(height, width, step)
    # Flattened, neighbours lie at fixed offsets, and a diagonal is a slice.
    flat = padded.reshape(-1, step)
    stride = width + 1
    conditions = [(filters == filter_type)[:, None] for filter_type in (SUB, UP, AVERAGE, PAETH)]
    for diagonal in range(height + width - 1):
        first, last = max(0, diagonal - width + 1), min(height, diagonal + 1)  # rows
        begin = (first + 1) * stride + diagonal - first + 1
        end = begin + (last - first - 1) * width + 1
        pixels = slice(begin, end, width)
        left = flat[begin - 1 : end - 1 : width]
        up = flat[begin - stride : end - stride : width]
        corner = flat[begin - stride - 1 : end - stride - 1 : width]
        applies = [condition[first:last] for condition in conditions]
        predicted = np.select(applies, [left, up, (left + up) // 2, _paeth(left, up, corner)], np.int16(0))
        flat[pixels] = (flat[pixels] + predicted) & 0xFF
    return padded[1:, 1:].reshape(height, -1).astype(np.uint8)


def _paeth(left: NDArray[np.int16], up: NDArray[np.int16], corner: NDArray[np.int16]) -> NDArray[np.int16]:
    """The neighbour closest to left + up - corner; ties go to left, then up."""
    from_left, from_up = np.abs(up - corner), np.abs(left - corner)
    from_corner = np.abs(left + up - 2 * corner)
    upper = np.where(from_up <= from_corner, up, corner)
    return np.where((from_left <= from_up) & (from_left <= from_corner), left, upper)
