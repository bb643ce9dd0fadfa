"""What comes on a stream of gRPC, none of it kept while the next is waited for."""

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
    while (message := await context.read()) is not grpc.aio.EOF:
        yield message
        del message  # not when the next has come, which may be never
