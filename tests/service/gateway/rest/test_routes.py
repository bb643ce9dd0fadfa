from __future__ import annotations

import httpx
import pytest

from lexiseg_service.question.backend import Health
from tests.service.gateway.known_backend import KnownBackend


async def test_a_service_that_loads_is_alive_but_not_ready(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.now = Health(True, False, "loading colours")

    live, ready = await client.get("/livez"), await client.get("/readyz")

    assert (live.status_code, ready.status_code) == (200, 503)
    assert ready.json()["detail"] == "loading colours"


async def test_a_service_whose_model_failed_is_not_alive(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.now = Health(False, False, "colours cannot be loaded")

    live = await client.get("/livez")

    assert (live.status_code, live.json()["status"]) == (503, "dead")


async def test_readiness_names_what_is_degraded(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.now = Health(True, True, "warm", ("text cache",))

    assert (await client.get("/readyz")).json()["degraded"] == ["text cache"]


@pytest.mark.parametrize("name", ["colours", "colours@1"])
async def test_a_model_is_found_with_and_without_its_version(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/models/{name}")

    assert (answer.status_code, answer.json()["name"], answer.json()["digest"]) == (200, "colours", "digest")


@pytest.mark.parametrize("name", ["colours@2", "nope", "%00", "colours@", "@1"])
async def test_an_unknown_model_is_404(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/models/{name}")

    assert (answer.status_code, answer.json()["type"]) == (404, "unknown-model")


async def test_a_model_that_still_loads_is_listed_as_such(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.now = Health(True, False, "loading")

    models = (await client.get("/models")).json()["models"]

    assert [(model["name"], model["loaded"], model["digest"]) for model in models] == [("colours", False, None)]
