"""Pictures at URLs, fetched for the user of a command: any host is allowed."""

from __future__ import annotations

import httpx

from lexiseg_service.errors import ServiceError


class Unreadable(ServiceError):
    """An image cannot be read; the message gives the reason without the name."""


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
