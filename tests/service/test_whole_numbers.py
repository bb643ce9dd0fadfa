"""Whole numbers of requests have bounds in the schemas: protobuf and numpy raise on larger ones."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from lexiseg_service.adapters import hugging_face, label_studio, roboflow, x_anylabeling
from lexiseg_service.gateway.video import StreamConfig
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.question.schemas import FrameInput, JsonRequest, Question, StreamInput
from tests.service.gateway.serving import IMAGE, serving

REQUESTS: list[type[BaseModel]] = [
    Question, JsonRequest, StreamInput, FrameInput, StreamConfig, VocabularyInput, label_studio.Predict,
    roboflow.Body, roboflow.VisualBody, x_anylabeling.Predict, hugging_face.Body,
]  # fmt: skip
MOST = 2**63


def unbounded(schema: Any, path: str = "") -> Iterator[str]:
    """Paths of the integers of a JSON schema without a bound on either side."""
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "integer":
        upper = min(schema.get("maximum", MOST + 1), schema.get("exclusiveMaximum", MOST + 1))
        if upper > MOST or not {"minimum", "exclusiveMinimum"} & set(schema):
            yield path
    for name, part in schema.items():
        yield from unbounded(part, f"{path}.{name}")


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda schema: f"{schema.__module__}.{schema.__name__}")
def test_every_whole_number_has_bounds(request_: type[BaseModel]) -> None:
    assert list(unbounded(request_.model_json_schema())) == []


@pytest.mark.parametrize("number", [2**31, 2**32, 2**63, 2**64 - 1, 10**30])
@pytest.mark.parametrize(
    "prompts",
    [
        '[{{"segment": {}}}]',
        '[{{"mask": {{"size": [{}, 4], "counts": "088"}}}}]',
        '[{{"mask": {{"size": [4, {}], "counts": "088"}}}}]',
    ],
)
async def test_a_number_beyond_its_field_is_named(prompts: str, number: int) -> None:
    async with serving() as client:
        form = {"classes": "red", "prompts": prompts.format(number)}
        answer = await client.post("/segment", files=IMAGE, data=form)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("prompts.0.")
