"""A connection as its answers have it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

HEAD = b"HTTP/1.1 "  # of an answer's first line
MOST_TOGETHER = 64 * 2**10  # bytes of a body; to copy more behind its head takes as long as to send it apart


class Answered:
    """A connection as an answer has it: it ends by `end`, when the request has been read.

    The head of an answer waits for its body, if that comes before anything else happens: to hand both to the system at
    once takes half the time, and wakes the client once.
    """

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        self.written = 0  # bytes, of all answers
        self.is_refusal = False  # the last of them
        self.end = end
        self._transport = transport
        self._call_soon = asyncio.get_running_loop().call_soon
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, content: bytes | memoryview) -> None:
        self.written += len(content)
        if self._head:
            together, self._head = self._head, b""
            if len(content) > MOST_TOGETHER:
                self._transport.write(together)
            else:
                content = together + content
        elif content[: len(HEAD)] == HEAD:
            self._head = bytes(content)
            self.is_refusal = self._head[len(HEAD) :] >= b"4"
            self._call_soon(self._send_head)
            return
        self._transport.write(content)

    def close(self) -> None:
        self._send_head()
        self.end()

    def _send_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self.is_closing():
            self._transport.write(head)
