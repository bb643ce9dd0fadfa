import base64
from typing import Any

import pytest
from pydantic import ValidationError

from lexiseg_service.gateway.admission.keys import line_of, new_key
from lexiseg_service.settings import Settings
from tests.service.adapters.asking import IN_TEXT, adapted

CONCEPTS = {"image": {"type": "base64", "value": IN_TEXT}, "prompts": [{"type": "text", "text": "red"}]}


async def test_an_adapter_that_is_not_named_is_not_there() -> None:
    async with adapted("supervision") as client:
        answer = await client.post("/adapters/roboflow/sam3/concept_segment", json=CONCEPTS)

    assert (answer.status_code, answer.json()["type"]) == (404, "no-such-route")


async def test_openapi_says_nothing_of_other_tools_interfaces() -> None:
    async with adapted() as client:
        paths = (await client.get("/openapi.json")).json()["paths"]

    assert not [path for path in paths if path.startswith(("/adapters", "/v2"))]


def test_an_adapter_that_nobody_knows_ends_the_start() -> None:
    with pytest.raises(ValidationError, match="hugging-face"):
        Settings(adapters=("huggingface",))


async def test_adapters_pass_the_limits_of_the_service() -> None:
    async with adapted(limits={"max_image_bytes": 100}) as client:
        answer = await client.post("/adapters/roboflow/sam3/concept_segment", json=CONCEPTS)

    assert (answer.status_code, answer.json()["type"]) == (413, "too-large")


KEY = new_key()
BASIC = base64.b64encode(f"anybody:{KEY}".encode()).decode()


@pytest.mark.parametrize(
    "sent",
    [
        {"headers": {"Token": KEY}}, {"headers": {"Authorization": f"Basic {BASIC}"}}, {"params": {"api_key": KEY}},
        {"headers": {"Authorization": f"Bearer {KEY}"}}, {"headers": {"X-API-Key": KEY}},
    ],
    ids=["token", "basic", "query", "bearer", "own header"],
)  # fmt: skip
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
