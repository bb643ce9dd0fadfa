"""Server-sent events of what goes on in the background, jobs and trainings: where it stands, until it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.errors import NotReady, UnknownJob, UnknownTraining

MEDIA_TYPE = "text/event-stream"
POLL_SECONDS = 1.0  # between two looks
PING_SECONDS = 10  # the edge ends a response that is silent for longer than 20


class Seen(NamedTuple):
    """What one look found."""

    output: Mapping[str, Any]  # the data of the next event, if it has changed
    is_over: bool
    before: Sequence[ServerSentEvent] = ()  # events that come before it


async def followed(request: Request, look: Callable[[], Awaitable[Seen]], going_on: str) -> Response:
    """Events named `going_on` at each change, and `done` at the end; a HEAD request gets the headers alone.

    Raises:
        ServiceError: the first look's; a later one ends the events where what it looks at was removed.
    """
    first = await look()
    if request.method == "HEAD":
        return Response(media_type=MEDIA_TYPE)
    return EventSourceResponse(_events(first, look, going_on), ping=PING_SECONDS)


async def _events(seen: Seen, look: Callable[[], Awaitable[Seen]], going_on: str) -> AsyncIterator[ServerSentEvent]:
    told: Mapping[str, Any] = {}
    with suppress(UnknownJob, UnknownTraining):  # it was removed
        while True:
            for event in seen.before:
                yield event
            if seen.output != told:
                yield ServerSentEvent(orjson.dumps(seen.output).decode(), event="done" if seen.is_over else going_on)
            if seen.is_over:
                return
            told, seen = seen.output, seen._replace(before=())
            await asyncio.sleep(POLL_SECONDS)
            with suppress(NotReady):
                seen = await look()
