"""Large bodies, which are read and parsed so that small requests pass them by (`gateway.turns`)."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from lexiseg_service.gateway.turns import Turns

T = TypeVar("T")
LARGE = 2**20  # bytes
LONG = 64 * 2**10  # bytes; what is shorter is parsed in a millisecond or two
FEW = 512  # values, or escapes; a question of a photograph and some words has so many at most
MARKS = (b",", b"[", b"{", b"\\")
# What was in the memory before stands there until it is written.
_UNWRITTEN = ctypes.pythonapi.PyByteArray_FromStringAndSize
_UNWRITTEN.restype, _UNWRITTEN.argtypes = ctypes.py_object, (ctypes.c_char_p, ctypes.c_ssize_t)


async def whole(request: Request) -> bytes | bytearray:
    """The body of a request; a large one in a place of its length, to which each piece is moved when it comes."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) <= LARGE:
        return await request.body()
    body, size = _room(int(length)), 0
    async for piece in request.stream():
        body[size : size + len(piece)] = piece
        size += len(piece)
    del body[size:]
    return body


def _room(size: int) -> bytearray:
    """Bytes to be written: those that Python makes are zeros, which for 26 MB takes it up to 20 ms at a stretch."""
    body: bytearray = _UNWRITTEN(None, size)
    return body


async def beside(request: Request, content: bytes | bytearray, parse: Callable[[], T]) -> T:
    """What `parse` makes of the content of a request, in a thread."""
    if len(content) <= LONG:
        return await asyncio.to_thread(parse)
    turns: Turns = request.app.state.turns
    if len(content) > LARGE:
        lane = turns.large
    else:
        lane = turns.few if sum(content.count(mark) for mark in MARKS) <= FEW else turns.long
    return await lane.done(request.state.client, parse)
