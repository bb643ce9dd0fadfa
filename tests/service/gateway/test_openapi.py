from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from service.gateway.schemas import Question


@pytest.fixture
async def schema(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    described: dict[str, Any] = answer.json()
    return described


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()


def test_every_route_of_the_manual_is_described(schema: dict[str, Any]) -> None:
    assert {"/segment", "/models", "/models/{name}", "/livez", "/readyz", "/metrics"} <= set(schema["paths"])


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}

    assert references(schema)
    assert references(schema) <= known


def test_segment_takes_a_form_or_json(schema: dict[str, Any]) -> None:
    content = schema["paths"]["/segment"]["post"]["requestBody"]["content"]

    assert set(content) == {"multipart/form-data", "application/json"}
    assert set(content["multipart/form-data"]["schema"]["properties"]) == {"image", "request", *Question.model_fields}


def test_every_problem_of_segment_is_described(schema: dict[str, Any]) -> None:
    responses = schema["paths"]["/segment"]["post"]["responses"]

    assert set(responses) == {"200", "400", "401", "403", "404", "413", "415", "422", "429", "503", "504"}
    for status in set(responses) - {"200"}:
        assert "application/problem+json" in responses[status]["content"]


def test_every_question_field_is_explained_or_plain(schema: dict[str, Any]) -> None:
    question = schema["components"]["schemas"]["Question"]["properties"]

    assert {"classes", "background", "threshold", "max_side", "overlay"} <= set(question)
    assert all(question[name].get("description") for name in ("background", "threshold", "max_side", "overlay"))


async def test_the_documentation_is_the_front_door(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", follow_redirects=True)

    assert answer.url.path == "/docs"
    assert re.search(r"openapi\.json", answer.text)
