"""Requests that offer to go on in another protocol, as curl and Java send them: answered like any other."""

from __future__ import annotations

import gc
import weakref

import pytest

from lexiseg_service.gateway.rest.http1.one_protocol import OneProtocol

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
POST = b"POST /segment HTTP/1.1\r\n"
IN_CHUNKS = POST + OFFER + b"Transfer-Encoding: chunked\r\n\r\n"
MESSAGES = {
    "of a length": POST + OFFER + b"Content-Length: 5\r\n\r\nhello",
    "in chunks": IN_CHUNKS + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    "with trailers": IN_CHUNKS + b"5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n",
}
EMPTY = b"GET /livez HTTP/1.1\r\n" + OFFER


class Heard:
    """Whole messages as (path, body)."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.messages: list[tuple[bytes, bytes]] = []
        self.heads = 0

    def on_message_begin(self) -> None:
        self.headers, self.path, self.body = [], b"", b""

    def on_url(self, url: bytes) -> None:
        self.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.heads += 1

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages.append((self.path, self.body))


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_body_behind_an_offer_is_the_body(message: bytes, step: int) -> None:
    heard = Heard()
    parser = OneProtocol(heard)
    content = message * 2 + b"GET /models HTTP/1.1\r\n\r\n"
    for start in range(0, len(content), step):
        parser.feed_data(content[start : start + step])

    assert heard.messages == [(b"/segment", b"hello")] * 2 + [(b"/models", b"")]
    assert heard.heads == 3


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 0\r\n", b"content-length: 00\r\n"])
def test_behind_an_offer_without_a_body_comes_the_next_request(framing: bytes) -> None:
    heard = Heard()
    OneProtocol(heard).feed_data((EMPTY + framing + b"\r\n") * 3)

    assert heard.messages == [(b"/livez", b"")] * 3


def test_nobody_is_held_by_a_parser_that_is_closed() -> None:
    heard = Heard()
    parser = OneProtocol(heard)
    parser.feed_data(MESSAGES["in chunks"])
    parser.close()
    gone = weakref.ref(heard)
    gc.disable()
    try:
        del heard, parser
        assert gone() is None
    finally:
        gc.enable()
