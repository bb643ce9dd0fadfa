"""Calls that ask for no key, as those of probes: whoever can connect may make them, so they may hold little.

Like all others they are served as streams, and read when there is room: gRPC would read the largest message of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf.message import DecodeError

from lexiseg_service.errors import DeadlineExceeded, MalformedRequest, ServiceError, TooLarge
from lexiseg_service.gateway.admission.limits import client_of
from lexiseg_service.gateway.rpc.peers import address_of
from lexiseg_service.gateway.turns import OneARound
from lexiseg_service.settings import Settings
from lexiseg_service.shares import Shares
from lexiseg_service.wire.errors import end
from lexiseg_service.wire.received import received, whole

MOST_BYTES = 4096  # of a message: names of services, files and symbols
MOST_READ = 16  # messages that are read at a time, each of which may be as long as any until it is there
if TYPE_CHECKING:  # generic for the type checker alone
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]


class OpenCalls:
    """Bounds for health and reflection: calls, and messages that are being read."""

    def __init__(self, settings: Settings, turns: OneARound) -> None:
        self._turns = turns
        self._calls = Shares("calls without a key", settings.max_calls, settings.client_share)
        self._reading = Shares("messages that are being read", MOST_READ, settings.client_share)
        self._seconds = settings.head_seconds  # to wait for a turn, and to send a message

    def framed(self, handler: Handler) -> Handler:
        """The handler of a method, that reads its messages here."""

        async def answered(_: AsyncIterator[bytes], context: Context) -> None:
            client = client_of(None, address_of(context.peer()))
            try:
                with self._calls.take(client):
                    async with aclosing(self._messages(handler, context, client)) as messages:
                        await _answer(handler, messages, context)
            except ServiceError as error:
                await end(context, error, "")

        return grpc.stream_stream_rpc_method_handler(answered, None, handler.response_serializer)

    async def _messages(self, handler: Handler, context: Context, client: str) -> AsyncGenerator[Any, None]:
        """The messages of a call; whoever has sent one and is silent has said all.

        Raises:
            DeadlineExceeded: none came in time.
            RateLimited, QueueFull: others were being read all the time.
            TooLarge: one is longer than any name.
            MalformedRequest: these bytes are no message.
        """
        read, n_read = cast("Callable[[bytes], Any]", handler.request_deserializer), 0
        in_turn = partial(whole, context, partial(self._turns.of, client))
        async with aclosing(received(in_turn)) as contents:
            while True:
                with await self._reading.wait(client, 1, self._seconds):
                    try:
                        async with asyncio.timeout(self._seconds):
                            content = await anext(contents, None)
                    except TimeoutError:
                        if n_read:
                            return
                        raise DeadlineExceeded(f"no message came within {self._seconds:g} seconds") from None
                if content is None:
                    return
                if len(content) > MOST_BYTES:
                    raise TooLarge(f"{len(content):,} bytes, at most {MOST_BYTES:,} are taken here")
                try:
                    message = read(content)
                except DecodeError:
                    raise MalformedRequest(f"{len(content):,} bytes that are no message of this method") from None
                n_read += 1
                yield message


async def _answer(handler: Handler, messages: AsyncGenerator[Any, None], context: Context) -> None:
    """As grpc itself would; what a handler writes by itself is written already.

    Raises:
        MalformedRequest: there is no message.
    """
    own: Any = handler
    if own.request_streaming:
        answers = own.stream_stream(messages, context)
    else:
        message = await anext(messages, None)
        if message is None:
            raise MalformedRequest("a call without a message")
        if own.unary_unary is not None:
            await context.write(await own.unary_unary(message, context))
            return
        answers = own.unary_stream(message, context)
    if isinstance(answers, AsyncGenerator):
        async with aclosing(answers):
            async for answer in answers:
                await context.write(answer)
    else:
        await answers
