from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from tests.service.adapters.asking import PICTURE, adapted
from tests.service.adapters.label_studio.predicting import URL, asked, regions


async def test_an_upload_is_fetched_from_the_label_studio_of_the_settings() -> None:
    with label_studio() as (home, asked_for):
        async with adapted(label_studio_url=home, label_studio_api_key="its-token") as client:
            found = await regions(client, image="/data/upload/1/a.png")

    assert len(found) == 2
    assert asked_for == [("/data/upload/1/a.png", "Token its-token")]


async def test_an_upload_of_no_known_label_studio_says_what_to_set(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert answer.status_code == 422
    assert "LEXISEG_LABEL_STUDIO_URL" in answer.json()["detail"]


@pytest.mark.parametrize("image", ["http://127.0.0.1:1/a.png", "//127.0.0.1:1/a.png", "/\\127.0.0.1:1/a.png"])
async def test_no_other_host_is_asked_with_the_token(image: str) -> None:
    with label_studio() as (home, asked_for):
        async with adapted(label_studio_url=home, label_studio_api_key="its-token") as client:
            answer = await client.post(f"{URL}/predict", json=asked(image=image))

    assert answer.status_code in (403, 422)
    assert asked_for == []


async def test_an_upload_over_the_limit_is_refused() -> None:
    with label_studio() as (home, _):
        async with adapted(label_studio_url=home, limits={"max_image_bytes": len(PICTURE) - 1}) as client:
            answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert (answer.status_code, answer.json()["type"]) == (413, "too-large")


@contextmanager
def label_studio() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server that has one upload: its address, and what was asked for with which token."""
    asked_for: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_for.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PICTURE)

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked_for
        finally:
            server.shutdown()
            serving.join()
