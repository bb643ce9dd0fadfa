"""Connections to hosts that may send heads without an end: hints before the answer, as many as they like.

The library reads heads until the one of the answer, and tells nobody of those before. Here all bytes up to it are
counted as they are read: few at a time, so that other work on the event loop comes between, then at a pace, and then no
more.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

AT_ONCE, MOST_BYTES = 6 * 2**10, 16 * 2**10  # of all heads: without a pause, and in all
PIECE = 2**10  # of them, at a time
PAUSE = 0.02  # seconds to the next one


class BoundedHeads(httpcore.AsyncNetworkBackend):
    """For one answer. Heads that are too long end in `httpcore.ReadError`."""

    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()
        self.n_bytes: int | None = 0  # of heads; None when that of the answer is there, as whoever asked for it says

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection, with or without TLS."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, heads: BoundedHeads) -> None:
        self._stream = stream
        self._heads = heads

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        heads = self._heads
        if heads.n_bytes is None:
            return await self._stream.read(max_bytes, timeout)
        if heads.n_bytes >= MOST_BYTES:
            raise httpcore.ReadError(f"{heads.n_bytes:,} bytes of heads")
        if heads.n_bytes >= AT_ONCE:
            await heads.sleep(PAUSE)
        content = await self._stream.read(min(max_bytes, PIECE), timeout)
        heads.n_bytes += len(content)
        return content

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._heads)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
