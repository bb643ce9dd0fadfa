from __future__ import annotations

import gzip
import json
import threading
import zlib
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from lexiseg_service.gateway.rest import compression
from lexiseg_service.gateway.rest.compression import takes_gzip
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from tests.service.gateway.known_backend import KnownBackend, answer
from tests.service.gateway.serving import form, serving

LONG, SHORT = "/v1/vocabularies/ade847", "/v1/models/nobody"


class Answering(KnownBackend):
    """Answers what it is told to."""

    def __init__(self, told: WorkerAnswer) -> None:
        super().__init__()
        self._told = told

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        return self._told


def with_label(length: int) -> WorkerAnswer:
    (segment,) = answer().segments
    return replace(answer(), segments=(replace(segment, label="sky" * (length // 3)),))


async def get(client: httpx.AsyncClient, path: str, taken: str = "gzip", **headers: str) -> httpx.Response:
    return await client.get(path, headers={"Accept-Encoding": taken, **headers})


@pytest.mark.parametrize("path", [LONG, "/vocabularies/ade847", "/v1/vocabularies", "/openapi.json", "/metrics"])
async def test_a_long_answer_is_compressed_for_who_takes_it(client: httpx.AsyncClient, path: str) -> None:
    async with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
        sent = b"".join([part async for part in packed.aiter_raw()])
    plain = await get(client, path, "identity")

    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(sent) < len(plain.content)
    assert path == "/metrics" or gzip.decompress(sent) == plain.content
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("path", [LONG, SHORT])
@pytest.mark.parametrize("taken", ["gzip", "identity"])
async def test_caches_are_told_that_it_depends_on_what_is_taken(
    client: httpx.AsyncClient, path: str, taken: str
) -> None:
    assert (await get(client, path, taken)).headers["vary"] == "Accept-Encoding"


async def test_a_short_answer_goes_out_as_it_is(client: httpx.AsyncClient) -> None:
    assert "content-encoding" not in (await get(client, SHORT)).headers


@pytest.mark.parametrize(
    ("accept_encoding", "taken"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("br, *;q=0.1", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*;q=0", False),
        ("gzip;q=often", False),
        ("x-gzipped", False),
    ],
)
def test_the_header_says_whether_gzip_is_taken(accept_encoding: str, taken: bool) -> None:
    assert takes_gzip(accept_encoding.encode()) is taken


async def test_the_compressed_form_has_a_tag_of_its_own_that_conditions_know(client: httpx.AsyncClient) -> None:
    classes = [f"thing number {index}" for index in range(200)]
    await client.put("/v1/vocabularies/room", json={"classes": classes})
    path = "/v1/vocabularies/room"

    packed, plain = (await get(client, path)).headers["etag"], (await get(client, path, "identity")).headers["etag"]
    unchanged = await get(client, path, **{"If-None-Match": packed})
    refused = await client.delete(path, headers={"If-Match": '"other-gzip"'})
    deleted = await client.delete(path, headers={"If-Match": packed})

    assert packed == f'{plain[:-1]}-gzip"'
    assert (unchanged.status_code, unchanged.headers["etag"], unchanged.content) == (304, packed, b"")
    assert (refused.status_code, deleted.status_code) == (412, 204)


async def test_a_plain_tag_stays_plain_in_a_304(client: httpx.AsyncClient) -> None:
    tag = (await get(client, LONG, "identity")).headers["etag"]

    assert (await get(client, LONG, **{"If-None-Match": tag})).headers["etag"] == tag


async def test_an_answer_that_is_mostly_pictures_goes_out_as_it_is() -> None:
    overlay = np.random.default_rng(0).bytes(10_000)
    async with serving(backend=Answering(answer(overlay=overlay))) as client:
        pictures = await client.post("/v1/segment", files=form("sky"), headers={"Accept-Encoding": "gzip"})
    async with serving(backend=Answering(with_label(10_000))) as client:
        words = await client.post("/v1/segment", files=form("sky"), headers={"Accept-Encoding": "gzip"})

    assert "content-encoding" not in pictures.headers
    assert words.headers["content-encoding"] == "gzip"
    assert json.loads(words.content)["segments"][0]["label"] == "sky" * 3333


@pytest.mark.parametrize(("length", "here"), [(10_000, True), (100_000, False)])
async def test_a_very_long_answer_is_compressed_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, length: int, here: bool
) -> None:
    threads: list[threading.Thread] = []

    def compress(*given: Any) -> bytes:
        threads.append(threading.current_thread())
        return zlib.compress(*given)

    monkeypatch.setattr(compression, "compress", compress)
    async with serving(backend=Answering(with_label(length))) as client:
        packed = await client.post("/v1/segment", files=form("sky"), headers={"Accept-Encoding": "gzip"})

    assert packed.headers["content-encoding"] == "gzip"
    assert [thread is threading.current_thread() for thread in threads] == [here]
