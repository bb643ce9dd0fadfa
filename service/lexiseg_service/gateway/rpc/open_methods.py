"""Methods that need no key, health and reflection: bytes that are no message of theirs end a call in plain words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError

from lexiseg_service.wire.server import Context

UNREADABLE = object()  # in place of a message
DETAIL = "bytes that are no message of this method"


def plain_spoken(handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler whose calls end with INVALID_ARGUMENT where gRPC would name the parser's error."""

    def read(content: bytes) -> Any:
        try:
            return handler.request_deserializer(content)
        except DecodeError:
            return UNREADABLE

    async def unary(message: Any, context: Context) -> Any:
        return await (handler.unary_unary or handler.unary_stream)(await _readable(message, context), context)

    async def stream(messages: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async def readable() -> AsyncIterator[Any]:
            async for message in messages:
                yield await _readable(message, context)

        async for answer in handler.stream_stream(readable(), context):
            yield answer

    if handler.stream_stream:
        return grpc.stream_stream_rpc_method_handler(cast("Any", stream), read, handler.response_serializer)
    make = grpc.unary_unary_rpc_method_handler if handler.unary_unary else grpc.unary_stream_rpc_method_handler
    return make(cast("Any", unary), read, handler.response_serializer)


async def _readable(message: Any, context: Context) -> Any:
    if message is UNREADABLE:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, DETAIL)
    return message
