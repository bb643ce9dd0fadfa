"""Refusals for tools that show the URL of a failed request, and nothing of its body.

Label Studio, X-AnyLabeling and CVAT's server show the sentence of the library requests, "422 Client Error:
Unprocessable Entity for url: http://...". A request of theirs that is refused is sent on, once, to its own address with
the reason in the query, so that the sentence ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lexiseg_service.errors import InvalidValue, ServiceError

REASON = "reason"  # in the query
TOOLS = ("heartex/", "python-requests/", "CVAT/")  # begin the User-Agent
REFUSED = (400, 404, 413, 415, 422)  # statuses whose name alone does not say what to do
MAX_CHARACTERS = 300  # of a reason


class ReasonRoute(APIRoute):
    """A route whose refusals these tools show with the reason."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of requests, by the contract of FastAPI."""
        handle = super().get_route_handler()

        async def handle_or_send_on(request: Request) -> Response:
            if (reason := request.query_params.get(REASON)) is not None:
                await request.body()  # an answer before its end would reset the connection
                raise InvalidValue(reason)
            try:
                return await handle(request)
            except ServiceError as error:
                if error.status not in REFUSED or not request.headers.get("user-agent", "").startswith(TOOLS):
                    raise
                query = urlencode({REASON: error.detail[:MAX_CHARACTERS]}, safe=":,'`()/")
                return RedirectResponse(f"{request.url.path.rsplit('/', 1)[-1]}?{query}", 307)

        return handle_or_send_on
