"""Long answers go out as fast as they are taken, and what their clients leave lying is bounded. Plain ASGI.

uvicorn takes an answer in one piece and calls it sent: a copy of it lies there until the client has read it, and
nothing counts it. In pieces, each of which waits for the one before, there is one copy, which is counted meanwhile.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lexiseg_service.errors import QueueFull, RateLimited
from lexiseg_service.gateway.rest import problem
from lexiseg_service.shares import Shares

PIECE = 128 * 2**10  # bytes; what is no longer goes out at once, and counts for nothing


class LongAnswers:
    """Takes room for an answer until its client has taken it; who has let too many lie gets 429 in its place."""

    def __init__(self, app: ASGIApp, room: Shares) -> None:
        self._app = app
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        beginning: Message | None = None

        async def send_in_pieces(message: Message) -> None:
            nonlocal beginning
            if message["type"] == "http.response.start":
                beginning = message
                return
            start, beginning = beginning, None
            body = message.get("body", b"")
            if len(body) <= PIECE:
                if start is not None:
                    await send(start)
                await send(message)
                return
            state = scope.get("state", {})
            try:
                hold = self._room.take(state.get("client", ""), len(body))
            except (QueueFull, RateLimited) as error:
                if start is None:
                    raise
                await problem.response(error, state.get("request_id"))(scope, receive, send)
                return
            with hold:
                if start is not None:
                    await send(start)
                view, more = memoryview(body), message.get("more_body", False)
                for place in range(0, len(view), PIECE):
                    last = place + PIECE >= len(view)
                    await send({**message, "body": view[place : place + PIECE], "more_body": more or not last})

        await self._app(scope, receive, send_in_pieces)
