"""What a client may send before anybody asks for it."""

from __future__ import annotations

import socket
import struct

from lexiseg_service.wire.floods import HEAD
from loadtests.frames import DATA, END_HEADERS, FIRST_STREAM, HEADERS, HEADS, PREFACE, SETTINGS, frame
from tests.service.gateway.rpc.calling import calling

PATIENCE = 30.0  # seconds that nothing here should need
PING, WINDOW_UPDATE = 6, 8  # kinds of frames (RFC 9113, 6)
INITIAL_WINDOW = 4  # a setting


async def test_of_a_call_that_nobody_has_heard_of_comes_less_than_its_head_is_counted_for() -> None:
    """So a second call of 20 MB on a new connection is not cut off, however late the event loop hears of it."""
    window, n_pings = 2**16 - 1, 2  # of a stream, before anybody says otherwise (RFC 9113, 6.9.2)
    content = struct.pack(">BI", 0, 20_000_000) + bytes(window - 5)
    pieces = [content[at : at + 2**14] for at in range(0, window, 2**14)]
    async with calling() as gateway:
        # What waits here keeps the event loop: nobody hears of the call. gRPC's own threads read on.
        with (
            socket.create_connection(("127.0.0.1", gateway.server.port), PATIENCE) as client,
            client.makefile("rb") as told,
        ):
            begun = frame(HEADERS, END_HEADERS, FIRST_STREAM, HEADS)
            client.sendall(
                PREFACE + frame(SETTINGS) + begun + b"".join(frame(DATA, 0, FIRST_STREAM, piece) for piece in pieces)
            )
            for _ in range(n_pings):
                client.sendall(frame(PING, body=bytes(8)))
                is_pong = False
                while not is_pong:
                    length, kind, flags, stream = told.read(3), *told.read(2), told.read(4)
                    body = told.read(int.from_bytes(length))
                    is_pong = kind == PING and bool(flags)
                    if kind == WINDOW_UPDATE and int.from_bytes(stream) == FIRST_STREAM:
                        window += int.from_bytes(body)
                    if kind == SETTINGS and not flags:
                        said = dict(struct.iter_unpack(">HI", body))
                        window = max(window, said.get(INITIAL_WINDOW, 0))

    assert window + len(begun) < HEAD
