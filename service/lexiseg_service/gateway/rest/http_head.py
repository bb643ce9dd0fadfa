"""A bound on the head of a request: uvicorn's fast parser takes headers of any length, before a key is looked at."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 2**10
MESSAGE = b"the head of the request is too large\n"
REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(MESSAGE), MESSAGE)
)


class BoundedHeadProtocol(HttpToolsProtocol):
    """Answers 431 and closes once a head is longer than the bound; holds at most one read more than it."""

    _head_bytes = 0
    _in_head = True

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Only after parsing is it known whether the head goes on; what came with its end is body.
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.transport.write(REFUSAL)
                self.transport.close()
