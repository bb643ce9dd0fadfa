"""What every gRPC method that segments does around its question: counts it, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message

from lexiseg_service.errors import TooLarge
from lexiseg_service.gateway.failures import reason_of
from lexiseg_service.gateway.use_case import Caller
from lexiseg_service.settings import Limits
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # generic for the type checker alone
    Context = grpc.aio.ServicerContext[Any, Any]
CALLER: ContextVar[Caller] = ContextVar("caller")  # of the call that runs; `CallFrame` sets it


@asynccontextmanager
async def counted(context: Context, metrics: Metrics) -> AsyncIterator[Caller]:
    """One question while it is answered: who asks. What goes wrong is counted and goes on to `CallFrame`."""
    metrics.question("grpc")
    try:
        yield CALLER.get()
    except asyncio.CancelledError:
        left = context.time_remaining()
        metrics.failed("timeout" if left is not None and left <= 0 else "canceled")
        raise
    except Exception as error:
        metrics.failed(reason_of(error))
        raise


def refuse_burden(answer: Message, limits: Limits) -> None:
    """Hundreds of prompts have thousands of masks. A transport that refuses them says so without any details.

    Raises:
        TooLarge: the answer is more than a client takes.
    """
    n_bytes = answer.ByteSize()
    if n_bytes > limits.max_grpc_bytes:
        raise TooLarge(
            f"the answer has {n_bytes:,} bytes, a gRPC message at most {limits.max_grpc_bytes:,}; "
            "ask for less at a time, for another mask format, or by REST"
        )
