"""One question over HTTP, asked for whoever sent the request: every route that segments goes through here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from types import coroutine
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
    answering = state.get("answering")  # who has not been listened to yet, too
    alone = answering is not None and len(answering) == 1
    return Caller(state["key_id"] or "", state["client"], state["request_id"], state["traceparent"], alone=alone)


def use_case_of(request: Request) -> UseCase:
    """What the gateway does for its callers."""
    use_case: UseCase = request.app.state.use_case
    return use_case


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; cancels the work when the client hangs up first.

    What waits for nothing is done before anybody could be listened to.
    """
    try:
        awaited = [work.send(None)]  # handed on below, and not kept here
    except StopIteration as end:
        result: T = end.value
        return result

    async def hung_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    asking = asyncio.current_task()
    assert asking is not None
    listening = asyncio.ensure_future(hung_up())
    gone = False

    def give_up(_: object) -> None:
        nonlocal gone
        gone = True
        asking.cancel()

    listening.add_done_callback(give_up)
    try:
        # In this task: one of its own would take as long to begin and end as much of the work.
        return await _going_on(work, awaited.pop())
    except asyncio.CancelledError:
        if gone and not asking.uncancel():  # else somebody else wants this task to end
            raise ClientDisconnect from None
        raise
    finally:
        listening.remove_done_callback(give_up)
        listening.cancel()


@coroutine
def _going_on(work: Coroutine[Any, Any, T], awaited: Any) -> Generator[Any, Any, T]:
    """What is left of work that has come to its first wait."""
    while True:
        try:
            sent = yield awaited
        except BaseException as error:
            go_on = partial(work.throw, error)
        else:
            go_on = partial(work.send, sent)
        awaited = None  # a future: what it was refused with holds this frame, and would be held by it
        try:
            awaited = go_on()
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            del go_on  # with an error that was thrown in, it would be held by what that error holds
