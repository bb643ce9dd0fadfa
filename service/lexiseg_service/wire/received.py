"""What comes on a stream of gRPC, none of it kept here once it is handed on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

import grpc


class Reading(Protocol):
    """As much of a call's context as is needed here."""

    async def read(self) -> Any: ...


async def received(context: Reading) -> AsyncGenerator[Any, None]:
    """The messages of a stream, until its client has said all.

    gRPC's own iterator keeps the last message of a stream that fails, or is left, for as long as the process lives.
    """
    while True:
        handed_on = [await context.read()]
        if handed_on[0] is grpc.aio.EOF:
            return
        yield handed_on.pop()  # by a name it would be kept for as long as its reader keeps us waiting
