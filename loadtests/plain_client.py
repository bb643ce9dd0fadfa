"""An HTTP client that takes almost no CPU: requests are encoded beforehand, response bodies are not parsed.

For load on the machine of the service: a client that parses would take the service's cores.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import httpx

GONE = 0  # in place of a status: the connection ended without a response


class Response(NamedTuple):
    """A response and how long it took; the status GONE for none."""

    status: int
    body: bytes = b""
    retry_after: float = 1.0  # seconds, from its header
    seconds: float = 0.0  # from the request to the end of the body


def posted(image: bytes, question: Mapping[str, Any], key: str | None = None) -> bytes:
    """The bytes of a `POST /segment` request."""
    return posted_form(image, {"request": json.dumps(question)}, key)


def posted_form(
    image: bytes, fields: Mapping[str, str | Sequence[str]], key: str | None = None, encoding: str = "identity"
) -> bytes:
    """As `posted`, for a form with any fields; `encoding` is what the client accepts."""
    form = httpx.Request("POST", "http://-", files={"image": image}, data=fields)
    body = form.read()
    return _head("POST", "/segment", key, len(body), form.headers["content-type"], encoding) + body


class WithSerial:
    """An endless cycle of requests, each time about an image that no cache has seen.

    Args:
        requests: as `posted` makes them, each with the bytes at the end of its image, which random bytes replace.
    """

    def __init__(self, *requests: tuple[bytes, bytes]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[bytes]:
        for request, mark in itertools.cycle(self._requests):
            yield request.replace(mark, secrets.token_bytes(len(mark)))


def got(path: str) -> bytes:
    """The bytes of a `GET` request."""
    return _head("GET", path, None, 0, "text/plain")


def _head(method: str, path: str, key: str | None, length: int, kind: str, encoding: str = "identity") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {length}"]
    lines.append(f"Accept-Encoding: {encoding}")
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Connection:
    """One keep-alive connection, which is reopened after it was closed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "localhost", parts.port or 80)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection, opened if it was closed."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, limit=2**20)
        return self._streams

    async def ask(self, request: bytes) -> Response:
        """Send a request and read its response to the end."""
        began = time.perf_counter()
        try:
            if self._streams is not None and self._streams[0].at_eof():
                self.close()  # the service closes idle connections
            reader, writer = await self.open()
            writer.write(request)
            await writer.drain()
            response, is_last = await read_response(reader)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            response, is_last = Response(GONE), False
        if is_last:
            self.close()
        return response._replace(seconds=time.perf_counter() - began)


async def read_response(reader: asyncio.StreamReader) -> tuple[Response, bool]:
    """The next response, and whether the server closes the connection after it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    response = Response(int(head.split(" ", 2)[1]), body, float(headers.get("retry-after", 1)))
    return response, headers.get("connection") == "close"
