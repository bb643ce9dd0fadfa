"""An answer's head goes out with what follows it at once, and by itself where nothing does."""

from __future__ import annotations

import asyncio
from typing import cast

from lexiseg_service.gateway.rest.http1.answered import MOST_TOGETHER, Answered

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Written:
    """A transport that keeps what it is handed, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closing = False

    def write(self, content: bytes) -> None:
        assert not self.closing
        self.pieces.append(bytes(content))

    def is_closing(self) -> bool:
        return self.closing

    def end(self) -> None:
        self.closing = True


def answered() -> tuple[Answered, Written]:
    transport = Written()
    return Answered(cast("asyncio.Transport", transport), transport.end), transport


async def test_head_and_body_go_out_together() -> None:
    answer, transport = answered()

    answer.write(HEAD)
    answer.write(b"body")

    assert transport.pieces == [HEAD + b"body"]
    assert answer.written == len(HEAD) + 4


async def test_a_long_body_is_not_copied_behind_its_head() -> None:
    answer, transport = answered()
    body = bytes(MOST_TOGETHER + 1)

    answer.write(HEAD)
    answer.write(memoryview(body))

    assert transport.pieces == [HEAD, body]


async def test_a_head_whose_body_comes_later_goes_ahead() -> None:
    answer, transport = answered()

    answer.write(HEAD)
    await asyncio.sleep(0)
    answer.write(b"body")

    assert transport.pieces == [HEAD, b"body"]


async def test_an_answer_of_a_head_alone_is_sent_before_the_end() -> None:
    answer, transport = answered()

    answer.write(HEAD)
    answer.close()

    assert transport.pieces == [HEAD]
    assert transport.closing


async def test_nothing_is_written_to_a_connection_that_is_gone() -> None:
    answer, transport = answered()

    answer.write(HEAD)
    transport.closing = True
    await asyncio.sleep(0)

    assert not transport.pieces
