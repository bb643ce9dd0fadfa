from __future__ import annotations

import pytest
from pydantic import ValidationError

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


def test_adapters_stand_between_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXISEG_ADAPTERS", "roboflow, kserve")

    assert Settings().adapters == ("roboflow", "kserve")


def test_an_adapter_that_nobody_knows_ends_the_start() -> None:
    with pytest.raises(ValidationError, match="hugging-face"):
        Settings(adapters=("huggingface",))


async def test_adapters_pass_the_limits_of_the_service() -> None:
    async with adapted(limits={"max_image_bytes": 100}) as client:
        answer = await client.post("/adapters/roboflow/sam3/concept_segment", json=CONCEPTS)

    assert (answer.status_code, answer.json()["type"]) == (413, "too-large")
