"""Heads of requests that browsers and proxies send are taken."""

from __future__ import annotations

import httpx

from tests import pictures
from tests.integration.server import Server


def test_an_ordinary_head_of_some_kilobytes_is_taken(server: Server) -> None:
    assert httpx.get(f"{server.url}/livez", headers={"X-Long": "a" * 30_000}, timeout=60).status_code == 200


def test_a_large_body_behind_a_small_head_is_taken(client: httpx.Client) -> None:
    image = pictures.encoded(pictures.small("china", 64), "JPEG") + bytes(1_000_000)

    assert client.post("/segment", files={"image": image}, data={"classes": ["sky"]}).status_code == 200
