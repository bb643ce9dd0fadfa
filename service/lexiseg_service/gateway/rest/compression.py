"""Gzip of what a browser loads before it shows the playground; the edge compresses the rest."""

from __future__ import annotations

import gzip

from starlette.requests import Request
from starlette.responses import Response


def packed(content: bytes) -> bytes:
    """The content as gzip, equal for equal content."""
    return gzip.compress(content, mtime=0)


def compressed(request: Request, response: Response, content: bytes | None = None) -> Response:
    """The response as gzip, where the client takes that.

    Args:
        request: says what the client takes.
        response: the answer as it is.
        content: its body, packed; None: the response has it.
    """
    response.headers["vary"] = "Accept-Encoding"
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return response
    body = packed(bytes(response.body)) if content is None else content
    headers = {**response.headers, "content-encoding": "gzip", "content-length": str(len(body))}
    return Response(body, response.status_code, headers=headers)
