"""HTTP/2 in raw frames (RFC 9113), for clients that keep many requests open on one connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0x0, 0x1, 0x4
END_STREAM, END_HEADERS = 0x1, 0x4
MAX_FRAME_BYTES = 16_384
LITERAL = 0x00  # a header that no table holds (RFC 7541, 6.2.2)
MAX_STREAMS = 100  # that HAProxy lets one connection open


def opening() -> bytes:
    """What a client sends first."""
    return PREFACE + _frame(SETTINGS, 0, 0, b"")


def post(stream: int, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """The head of a POST and the beginning of its body; the stream stays open.

    Args:
        stream: an odd number, larger than those before.
        path: of the request, of at most 126 characters, as are names and values of headers.
        headers: in lower case.
        body: what is sent of it.
    """
    head = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", **headers}
    frames = [_frame(HEADERS, END_HEADERS, stream, b"".join(_literals(head)))]
    for first in range(0, len(body), MAX_FRAME_BYTES):
        frames.append(_frame(DATA, 0, stream, body[first : first + MAX_FRAME_BYTES]))
    return b"".join(frames)


def unfinished(n_streams: int, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A connection with `n_streams` POSTs that are never finished."""
    return opening() + b"".join(post(2 * number + 1, path, headers, body) for number in range(n_streams))


def _literals(headers: Mapping[str, str]) -> Iterable[bytes]:
    for name, value in headers.items():
        assert len(name) < 127 > len(value)
        yield bytes([LITERAL, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
