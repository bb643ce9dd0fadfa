"""Refusals for Label Studio, which shows the URL of a failed request and nothing of its body.

Where a model is connected, in its log and in `errors` of its API stands the sentence of the library requests, "422
Client Error: Unprocessable Entity for url: http://...". It has the status and the URL of an answer only, so a redirect
adds words: a refused POST leads to a GET (303: the body is not sent again) of an address with the reason in its query,
which is refused with the same status.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lexiseg_service.errors import InvalidValue, ServiceError, error_of

PATH = "/refused"  # next to the routes
TOOL = "heartex/"  # begins the User-Agent
REFUSED = (400, 403, 404, 413, 415, 422)  # statuses with a name that does not say what to do
MAX_CHARACTERS = 300  # of a reason


class ReasonRoute(APIRoute):
    """A route for POSTs that Label Studio shows with the reason of a refusal; its router has `refuse`, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of requests, by the contract of FastAPI."""
        handle = super().get_route_handler()

        async def handle_or_send_on(request: Request) -> Response:
            try:
                return await handle(request)
            except ServiceError as error:
                of_tool = request.headers.get("user-agent", "").startswith(TOOL)
                if request.method != "POST" or error.status not in REFUSED or not of_tool:
                    raise
                query = urlencode({"type": error.type, "reason": error.detail[:MAX_CHARACTERS]}, safe=":,'`()/")
                return RedirectResponse(f".{PATH}?{query}", 303)

        return handle_or_send_on


async def refuse(type: str, reason: str) -> None:
    """The address that refused requests lead to, `PATH` of a router."""
    error = error_of(type, reason[:MAX_CHARACTERS])
    raise error if error.status in REFUSED else InvalidValue(error.detail)
