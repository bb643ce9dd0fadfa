"""A client of gRPC that asks in bytes of its own, and has no room for any answer."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from loadtests.frames import PREFACE
from tests.service.gateway.rpc.calling import Gateway

DATA, HEADERS, SETTINGS = 0, 1, 4  # kinds of frames (RFC 9113, 6)
INITIAL_WINDOW = 4  # a setting: bytes of a stream that its client has room for
LAST_OF_STREAM, LAST_OF_HEADERS = 1, 4


@asynccontextmanager
async def narrow(gateway: Gateway, method: str, message: bytes, key: str = "none") -> AsyncIterator[None]:
    """Asks, and is there for as long as the block."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "x",
        "content-type": "application/grpc",
        "te": "trailers",
        "x-api-key": key,
    }
    head = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in fields.items())
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    try:
        writer.write(
            PREFACE
            + _framed(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, 0))
            + _framed(HEADERS, LAST_OF_HEADERS, 1, head)
            + _framed(DATA, LAST_OF_STREAM, 1, struct.pack(">BI", 0, len(message)) + message)
        )
        yield
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


def _framed(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def _literal(text: str) -> bytes:
    """A string as HPACK has it (RFC 7541, 5.2)."""
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()
