"""A client that costs next to no CPU: requests are made beforehand, answers are read and not parsed.

For loads on the machine of the service: a client that parses would take the service's cores.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

GONE = 0  # the connection ended without an answer


class Answered(NamedTuple):
    """The status, GONE for none; how long it took; what a refusal asks to wait."""

    status: int
    seconds: float
    retry_after: float = 1.0


class Whole(NamedTuple):
    """An answer with its body; a status of GONE for none."""

    status: int
    body: bytes = b""
    retry_after: float = 1.0


def posted(image: bytes, question: Mapping[str, Any], key: str | None = None) -> bytes:
    """`POST /segment` as it goes over the wire."""
    return posted_form(image, {"request": json.dumps(question)}, key)


def posted_form(
    image: bytes, fields: Mapping[str, str | Sequence[str]], key: str | None = None, encoding: str = "identity"
) -> bytes:
    """The same of a form with other fields, whose answer may come in an `encoding`."""
    form = httpx.Request("POST", "http://-", files={"image": image}, data=fields)
    body = form.read()
    return _head("POST", "/segment", key, len(body), form.headers["content-type"], encoding) + body


class WithSerial:
    """An endless cycle of requests, each time about a picture that no cache has seen.

    Args:
        requests: as `posted` makes them, and what the file in each ends with: each time as many other bytes.
    """

    def __init__(self, *requests: tuple[bytes, bytes]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[bytes]:
        for request, mark in itertools.cycle(self._requests):
            yield request.replace(mark, secrets.token_bytes(len(mark)))


def got(path: str) -> bytes:
    """`GET path` as it goes over the wire."""
    return _head("GET", path, None, 0, "text/plain")


def _head(method: str, path: str, key: str | None, length: int, kind: str, encoding: str = "identity") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {length}"]
    lines.append(f"Accept-Encoding: {encoding}")
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Connection:
    """One kept-alive connection; opened again when it is gone."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "localhost", parts.port or 80)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def ask(self, request: bytes) -> Answered:
        """Sends a request and reads its answer to the end."""
        began = time.perf_counter()
        answer = await self.ask_whole(request)
        return Answered(answer.status, time.perf_counter() - began, answer.retry_after)

    async def ask_whole(self, request: bytes) -> Whole:
        """As `ask`, with the body of the answer."""
        try:
            if self._streams is not None and self._streams[0].at_eof():
                self.close()  # the service closes idle connections
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._address, limit=2**20)
            reader, writer = self._streams
            writer.write(request)
            await writer.drain()
            answer, is_last = await _answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Whole(GONE)
        if is_last:
            self.close()
        return answer


async def _answer(reader: asyncio.StreamReader) -> tuple[Whole, bool]:
    """The next one, and whether it is the last of its connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    answer = Whole(int(head.split(" ", 2)[1]), body, float(headers.get("retry-after", 1)))
    return answer, headers.get("connection") == "close"
