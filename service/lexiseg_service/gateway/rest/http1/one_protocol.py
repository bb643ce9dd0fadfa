"""httptools' parser for a server that speaks one protocol: an offer to go on in another is passed over.

A server may do so (RFC 9110, 7.8), and clients of HTTP/2 send such offers with their first request: curl, Java's own.
httptools takes whatever follows their head for the other protocol, and the body of the request is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol

import httptools

OF_A_HEAD = ("on_message_begin", "on_url", "on_header", "on_headers_complete")
OF_A_BODY = ("on_body", "on_message_complete")
FRAMING = frozenset({b"content-length", b"transfer-encoding"})  # what says how a body ends


class Hearing(Protocol):
    """Whoever hears of messages, by these methods of httptools and the others."""

    headers: list[tuple[bytes, bytes]]  # of the latest message

    def on_message_complete(self) -> None: ...


class OneProtocol:
    """As `httptools.HttpRequestParser`, as far as it is used here."""

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing
        self._in_own_head = False
        callbacks = {name: getattr(hearing, name) for name in (*OF_A_HEAD, *OF_A_BODY)}
        callbacks["on_message_complete"] = self._complete
        self._parser = _lenient(callbacks)

    def feed_data(self, content: bytes) -> None:
        """Parses on.

        Raises:
            httptools.HttpParserError: this is not HTTP/1.1.
        """
        while True:
            try:
                self._parser.feed_data(content)
            except httptools.HttpParserUpgrade as offer:
                content = bytes(memoryview(content)[offer.args[0] :])
                if framing := self._framing():
                    self._parser = self._behind_a_head(framing)
                if content:
                    continue
            return

    def close(self) -> None:
        """Nothing more is parsed; whoever heard of messages is let go, which the parser would not by itself."""
        self._parser = None

    def should_upgrade(self) -> bool:
        """Never."""
        return False

    def should_keep_alive(self) -> bool:
        """Whether another message may follow."""
        return bool(self._parser.should_keep_alive())

    def get_http_version(self) -> str:
        """As `1.1`."""
        return str(self._parser.get_http_version())

    def get_method(self) -> bytes:
        """As `POST`."""
        return bytes(self._parser.get_method())

    def _complete(self) -> None:
        # That of an offer comes at the end of its head.
        if not (self._parser.should_upgrade() and self._framing()):
            self._hearing.on_message_complete()

    def _framing(self) -> list[tuple[bytes, bytes]]:
        """What says how the body of the latest message ends; nothing where there is none."""
        return [(name, value) for name, value in self._hearing.headers if name in FRAMING and value.strip(b" \t0")]

    def _behind_a_head(self, framing: list[tuple[bytes, bytes]]) -> Any:
        """A parser that has read a head of which nobody hears: the body that it announces comes next."""

        def unless_own(callback: Callable[..., None]) -> Callable[..., None]:
            return lambda *heard: None if self._in_own_head else callback(*heard)

        callbacks = {name: unless_own(getattr(self._hearing, name)) for name in (*OF_A_HEAD, *OF_A_BODY)}
        # Later offers on this connection need the same as the first one.
        callbacks["on_message_complete"] = unless_own(self._complete)
        parser = _lenient(callbacks)
        lines = b"".join(b"%s: %s\r\n" % header for header in framing)
        self._in_own_head = True
        try:
            parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % lines)
        finally:
            self._in_own_head = False
        return parser


def _lenient(callbacks: dict[str, Callable[..., None]]) -> Any:
    """A parser as uvicorn has it: who says that a request is the last may have sent another behind it."""
    parser = httptools.HttpRequestParser(SimpleNamespace(**callbacks))
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
