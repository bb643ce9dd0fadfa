"""One question over HTTP, asked for whoever sent the request: every route that segments goes through here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from lexiseg_service.gateway.failures import reason_of
from lexiseg_service.gateway.use_case import Caller, UseCase
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.watch.metrics import Metrics

T = TypeVar("T")


async def answer_of(request: Request, reading: Awaitable[Asked]) -> WorkerAnswer:
    """The answer to what `reading` makes of the request's body; counts what goes wrong.

    Raises:
        ServiceError: of any kind; the message is for the client.
        ClientDisconnect: the client hung up first; its work is dropped.
    """
    metrics: Metrics = request.app.state.metrics
    metrics.question("rest")
    try:
        asked = await reading
        return await _unless_gone(request, use_case_of(request).segment(asked, caller_of(request)))
    except ClientDisconnect:
        metrics.failed("canceled")
        raise
    except Exception as error:
        metrics.failed(reason_of(error))
        raise


def caller_of(request: Request) -> Caller:
    """Who asks, as the guard found out."""
    state: dict[str, Any] = request.scope["state"]
    return Caller(state["key_id"] or "", state["client"], state["request_id"], state["traceparent"])


def use_case_of(request: Request) -> UseCase:
    """What the gateway does for its callers."""
    use_case: UseCase = request.app.state.use_case
    return use_case


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; the work is cancelled when the client hangs up first.

    Raises:
        ClientDisconnect: it did.
    """
    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        listening.cancel()
        working.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
