import base64
import re
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from lexiseg_service.gateway.rest import openapi
from lexiseg_service.gateway.rest.openapi import JSON_EXAMPLES
from lexiseg_service.question.schemas import Question, SegmentAnswer
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import serving


@pytest.fixture
async def schema(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    described: dict[str, Any] = answer.json()
    return described


# A description is read alone, under its field's name: no preposition, pronoun or question word opens it.
FRAGMENT = re.compile(
    r"(of|as|by|with|from|in|on|to|for|that|its?|what|which|who|why|where|how|when|instead|also|all of) ", re.IGNORECASE
)


def test_every_operation_parameter_and_field_is_described_by_a_phrase_that_stands_alone(schema: dict[str, Any]) -> None:
    fields = {
        f"{name}.{field}": described
        for name, component in schema["components"]["schemas"].items()
        for field, described in component["properties"].items()
    }
    parameters = {
        f"{name} {parameter['name']}": parameter
        for name, operation in operations(schema)
        for parameter in operation.get("parameters", [])
    }
    components = schema["components"]["schemas"]
    everything = {**dict(operations(schema)), **components, **fields, **parameters}

    assert len(fields) > 100
    assert [name for name, described in everything.items() if not described.get("description")] == []
    assert {name for name, described in everything.items() if FRAGMENT.match(described["description"])} == set()
    assert [name for name, operation in operations(schema) if not operation.get("summary")] == []


def test_segment_takes_a_form_json_or_the_file(schema: dict[str, Any]) -> None:
    content = schema["paths"]["/v1/segment"]["post"]["requestBody"]["content"]

    assert set(content) == {"multipart/form-data", "application/json", "application/octet-stream"}
    assert content["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/SegmentForm"}
    form = schema["components"]["schemas"]["SegmentForm"]["properties"]
    assert set(form) == {"image", "request", *Question.model_fields}


def operations(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_example_of_an_answer_is_what_the_schema_says() -> None:
    TypeAdapter(SegmentAnswer).validate_python(openapi.SEGMENT)


@pytest.mark.parametrize("name", JSON_EXAMPLES)
async def test_the_examples_of_requests_are_served(name: str) -> None:
    backend = KnownBackend()
    image = {"base64": base64.b64encode(pictures.encoded(pictures.small())).decode()}
    async with serving(backend=backend) as client:
        answer = await client.post("/segment", json={**JSON_EXAMPLES[name]["value"], "image": image})

    assert answer.status_code == 200, answer.text
    assert len(backend.asked) == 1
