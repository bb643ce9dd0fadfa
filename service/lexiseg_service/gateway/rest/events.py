"""Server-sent events of what goes on in the background, jobs and trainings: where it stands, until it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.errors import NotReady, UnknownJob, UnknownTraining

MEDIA_TYPE = "text/event-stream"
POLL_SECONDS = 1.0  # between two looks
PING_SECONDS = 10  # the edge ends a response that is silent for longer than 20


Look = Callable[[], Awaitable[Mapping[str, Any]]]
Log = Callable[[], Awaitable[bytes]]


async def followed(request: Request, look: Look, going_on: str, log: Log | None = None) -> Response:
    """Events named `going_on` at each change, `log` with what is new there, and `done` once `look` has `ended`."""
    first = await look()
    if request.method == "HEAD":
        return Response(media_type=MEDIA_TYPE)
    return EventSourceResponse(_events(first, look, going_on, log), ping=PING_SECONDS)


async def _events(
    output: Mapping[str, Any], look: Look, going_on: str, log: Log | None
) -> AsyncIterator[ServerSentEvent]:
    previous: Mapping[str, Any] = {}
    printed = b""
    with suppress(UnknownJob, UnknownTraining):  # it was removed
        while True:
            before, printed = printed, b"" if log is None else await log()
            if printed != before:
                yield ServerSentEvent(printed.removeprefix(before).decode(errors="replace"), event="log")
            is_over = output["ended"] is not None
            if output != previous:
                yield ServerSentEvent(orjson.dumps(output).decode(), event="done" if is_over else going_on)
            if is_over:
                return
            previous = output
            await asyncio.sleep(POLL_SECONDS)
            with suppress(NotReady):
                output = await look()
