"""Messages of a stream belong to who reads them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc
import pytest

from lexiseg_service.wire.received import received, whole


class Message:
    """As large as any."""


class Call:
    """Has one message, and then no more."""

    def __init__(self) -> None:
        self._messages: list[Any] = [grpc.aio.EOF, Message()]

    async def read(self) -> Any:
        return self._messages.pop()


async def test_a_message_is_its_readers_alone() -> None:
    async with aclosing(received(partial(whole, Call()))) as messages:
        message = await anext(messages)
        gone = weakref.ref(message)
        assert isinstance(message, Message)
        del message

        assert gone() is None
        assert [message async for message in messages] == []


class CopyingCall:
    """Copies its message when it is there, as gRPC does."""

    def __init__(self) -> None:
        self.there = asyncio.get_running_loop().create_future()
        self.copied = False

    async def read(self) -> str:
        await self.there
        self.copied = True
        return "message"


async def rounds(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("sooner", ["there", "given up"])
async def test_a_read_that_has_begun_goes_to_its_end(sooner: str) -> None:
    call = CopyingCall()
    reading = asyncio.create_task(whole(call))
    await rounds()
    if sooner == "there":
        call.there.set_result(None)
        reading.cancel()  # in the same moment
    else:
        reading.cancel()
        await rounds()
        call.there.set_result(None)
    await rounds()

    assert (reading.cancelled(), call.copied) == (True, True)


async def test_of_a_read_that_is_given_up_and_fails_nobody_complains() -> None:
    call, complaints = CopyingCall(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    reading = asyncio.create_task(whole(call))
    await rounds()
    reading.cancel()
    await rounds()
    call.there.set_exception(RuntimeError("over"))
    was_cancelled = reading.cancelled()
    del call, reading
    await rounds()
    gc.collect()

    assert (was_cancelled, complaints) == (True, [])


async def test_what_a_read_fails_with_is_for_who_waits() -> None:
    call = CopyingCall()
    call.there.set_exception(RuntimeError("over"))

    with pytest.raises(RuntimeError, match="over"):
        await whole(call)


async def test_a_message_that_is_there_is_copied_in_its_turn() -> None:
    call, turn = CopyingCall(), asyncio.Event()
    reading = asyncio.create_task(whole(call, turn.wait))
    await rounds()
    call.there.set_result(None)
    await rounds()
    waited = not call.copied
    turn.set()

    assert (waited, await reading) == (True, "message")


async def test_a_read_of_a_call_that_is_over_fails_at_once() -> None:
    class Over:
        async def read(self) -> str:
            raise RuntimeError("over")

    with pytest.raises(RuntimeError, match="over"):
        await whole(Over())
