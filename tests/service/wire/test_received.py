"""Messages of a stream belong to who reads them."""

from __future__ import annotations

import weakref
from contextlib import aclosing
from typing import Any

import grpc

from lexiseg_service.wire.received import received


class Message:
    """As large as any."""


class Call:
    """Has one message, and then no more."""

    def __init__(self) -> None:
        self._messages: list[Any] = [grpc.aio.EOF, Message()]

    async def read(self) -> Any:
        return self._messages.pop()


async def test_a_message_is_its_readers_alone() -> None:
    async with aclosing(received(Call())) as messages:
        message = await anext(messages)
        gone = weakref.ref(message)
        assert isinstance(message, Message)
        del message

        assert gone() is None
        assert [message async for message in messages] == []
