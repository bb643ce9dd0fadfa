"""Pictures at URLs, fetched for the user of a command: any host is allowed."""

from __future__ import annotations

import httpx


def fetch(client: httpx.Client, url: str, max_bytes: int) -> bytes:
    """The content of a URL; reading stops once it exceeds `max_bytes`.

    Raises:
        httpx.HTTPStatusError: the server answers with an error status.
        httpx.HTTPError, httpx.InvalidURL: the request cannot be sent, or breaks off.
    """
    content = bytearray()
    with client.stream("GET", url) as answer:
        answer.raise_for_status()
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > max_bytes:
                break
    return bytes(content)
