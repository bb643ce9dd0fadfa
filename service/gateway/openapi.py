"""What OpenAPI cannot read off the routes: the two body forms of POST /segment, and the problems."""

from __future__ import annotations

from typing import Any

from service.errors import (
    DeadlineExceeded,
    InvalidValue,
    MalformedRequest,
    NotReady,
    QueueFull,
    RateLimited,
    ServiceError,
    TooLarge,
    Unauthorized,
    UnknownModel,
    UnknownVocabulary,
    UnsupportedImage,
)
from service.gateway.schemas import JsonRequest, Problem, Question

_JSON_EXAMPLE = {
    "image": {"base64": "/9j/4AAQSkZJRgABAQ..."},
    "classes": ["road", {"name": "sofa", "synonyms": ["couch"], "threshold": 0.3}],
}


def _flat_form() -> dict[str, Any]:
    """The multipart form: the file, and either `request` or the question's fields one by one."""
    schema = Question.model_json_schema(ref_template="#/components/schemas/{model}")
    properties: dict[str, Any] = schema["properties"]
    properties["classes"] = {"type": "array", "items": {"type": "string"}, "description": "repeat once per class"}
    properties["background"] = {"type": "string", "description": "true, false, or a JSON object"}
    return {
        "type": "object",
        "required": ["image"],
        "properties": {
            "image": {"type": "string", "format": "binary"},
            "request": {"type": "string", "description": "all other fields as one JSON object"},
            **properties,
        },
    }


SEGMENT_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": _flat_form(), "encoding": {"classes": {"style": "form", "explode": True}}},
        "application/json": {
            "schema": {"$ref": "#/components/schemas/JsonRequest"},
            "example": _JSON_EXAMPLE,
        },
    },
}


def _problem(error: type[ServiceError]) -> dict[str, Any]:
    return {
        "description": f"{error.title} (`{error.type}`)",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


PROBLEMS: dict[int | str, dict[str, Any]] = {
    error.status: _problem(error)
    for error in (
        MalformedRequest,
        UnknownModel,
        TooLarge,
        UnsupportedImage,
        InvalidValue,
        QueueFull,
        NotReady,
        DeadlineExceeded,
    )
}


def extra_schemas() -> dict[str, Any]:
    """Component schemas that the hand-written parts refer to."""
    components: dict[str, Any] = {}
    for schema in (JsonRequest, Question, Problem):
        described = schema.model_json_schema(ref_template="#/components/schemas/{model}")
        components |= described.pop("$defs", {})
        components[schema.__name__] = described
    return components
