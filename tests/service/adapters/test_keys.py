from __future__ import annotations

import base64
from typing import Any

import pytest

from lexiseg_service.gateway.admission.keys import line_of, new_key
from tests.service.adapters.asking import adapted

KEY = new_key()
BASIC = base64.b64encode(f"anybody:{KEY}".encode()).decode()


@pytest.mark.parametrize(
    "sent",
    [
        {"headers": {"Token": KEY}},
        {"headers": {"Authorization": f"Basic {BASIC}"}},
        {"params": {"api_key": KEY}},
        {"headers": {"Authorization": f"Bearer {KEY}"}},
        {"headers": {"X-API-Key": KEY}},
    ],
    ids=["token", "basic", "query", "bearer", "own header"],
)
async def test_a_key_is_found_where_tools_put_it(sent: dict[str, Any]) -> None:
    async with adapted(api_keys=line_of("tool", KEY)) as client:
        answer = await client.get("/adapters/x-anylabeling/v1/models", **sent)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"headers": {"Token": "another"}},
        {"headers": {"Authorization": "Basic %%%"}},
        {"headers": {"Authorization": "Bearer another", "Token": KEY}},
        {"params": [("api_key", KEY), ("api_key", KEY)]},
    ],
    ids=["none", "another", "no base64", "a wrong bearer first", "two"],
)
async def test_without_a_known_key_nobody_is_answered(sent: dict[str, Any]) -> None:
    async with adapted(api_keys=line_of("tool", KEY)) as client:
        answer = await client.get("/adapters/x-anylabeling/v1/models", **sent)

    assert (answer.status_code, answer.json()["type"]) == (401, "unauthorized")


async def test_the_services_own_routes_look_for_keys_where_they_always_did() -> None:
    async with adapted(api_keys=line_of("tool", KEY)) as client:
        answer = await client.get("/models", headers={"Token": KEY})

    assert answer.status_code == 401
