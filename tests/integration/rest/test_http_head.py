"""The head of a request is bounded, whatever comes behind it."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx

from tests import pictures
from tests.integration.server import Server

PATIENCE = 20.0  # seconds that nothing here should need


def answer_to(server: Server, *parts: bytes) -> bytes:
    """What the server says to raw bytes before it closes, or all it says within one read."""
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            return connection.recv(1000)
        except (BrokenPipeError, ConnectionResetError):
            return connection.recv(1000)


def test_a_head_without_end_is_refused(server: Server) -> None:
    endless = (b"X-%d: " % number + b"a" * 8000 + b"\r\n" for number in range(200))

    answer = answer_to(server, b"GET /livez HTTP/1.1\r\nHost: x\r\n", *endless)

    assert answer.startswith(b"HTTP/1.1 431 ")


def test_an_ordinary_head_of_some_kilobytes_is_taken(server: Server) -> None:
    assert httpx.get(f"{server.url}/livez", headers={"X-Long": "a" * 30_000}, timeout=60).status_code == 200


def test_a_large_body_behind_a_small_head_is_taken(client: httpx.Client) -> None:
    image = pictures.encoded(pictures.small("china", 64), "JPEG") + bytes(1_000_000)

    assert client.post("/segment", files={"image": image}, data={"classes": ["sky"]}).status_code == 200
