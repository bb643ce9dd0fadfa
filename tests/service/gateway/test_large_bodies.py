from __future__ import annotations

import os

import pytest
from starlette.requests import Request
from starlette.types import Message

from lexiseg_service.gateway.rest.large_bodies import LARGE, whole


@pytest.mark.parametrize("n_bytes", [10, LARGE + 10])
async def test_a_body_is_read_as_it_came(n_bytes: int) -> None:
    content = os.urandom(n_bytes)
    left = [content[at : at + 300_000] for at in range(0, n_bytes, 300_000)]

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    scope = {"type": "http", "headers": [(b"content-length", str(n_bytes + 5).encode())]}  # a proxy may announce more

    assert await whole(Request(scope, receive)) == content
