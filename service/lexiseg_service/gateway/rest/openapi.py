"""Parts of OpenAPI that FastAPI cannot generate: the body forms of POST /segment, and the problems."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel

from lexiseg_model.pictures.header import STILL_FORMATS
from lexiseg_service.errors import (
    KINDS,
    CrossSite,
    InvalidValue,
    NameTaken,
    NotAllowed,
    PreconditionFailed,
    RateLimited,
    ReadOnly,
    ServiceError,
    Unauthorized,
    UnknownHost,
    UnknownJob,
    UnknownStream,
    UnknownTraining,
)
from lexiseg_service.gateway.rest.body import MAX_IMAGES
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.question.schemas import FrameInput, JsonRequest, Problem, Question, StreamInput

IfMatch = Annotated[str | None, Header(description="ETag that it must still have, else 412; *: any")]
IfNoneMatch = Annotated[str | None, Header(description="*: create only, never replace; an ETag: 304 if unchanged")]
TAGGED: dict[str, Any] = {"headers": {"ETag": {"description": "ETag of the content", "schema": {"type": "string"}}}}
# An answer as /docs shows it; other examples are generated from the schemas.
SEGMENT: dict[str, Any] = {
    "id": "0f9c1f6f0f7a4c3a9f6f3a2b1c0d9e8f",
    "image_id": "9b0b54d1c7a24f5e8d6c3b2a19080706",
    "model": "tiny",
    "model_digest": "3c1f0a9b8e7d6c5b",
    "task": "semantic",
    "size": [4, 4],
    "segments": [
        {
            "id": 1,
            "label": "sky",
            "class_index": 0,
            "score": 0.9123,
            "area": 8,
            "bbox": [0, 0, 2, 4],
            "prompt_index": None,
            "mask_index": None,
            "quality": None,
            "is_thing": None,
            "track_id": None,
            "doubtful": False,
            "mask": {"format": "coco_rle", "size": [4, 4], "counts": "088"},
        }
    ],
    "label_map": None,
    "overlay": None,
    "absent": ["quark"],
    "warnings": [
        {
            "type": "unfamiliar-word",
            "detail": "'quark' is far from every word that tiny was trained on; what it marks is a guess (the nearest "
            "is 'human being' with a likeness of 0.50, familiar words have 0.62)",
            "field": "classes.1",
        }
    ],
    "timings_ms": {"decode": 4.1, "queue": 0.3, "text": 0.1, "image": 38.0, "post": 6.2, "total": 49.0},
    "cache": {"text_hits": 3, "text_misses": 0, "features": False},
}
_EXAMPLE_CLASSES = {"classes": ["road", {"name": "sofa", "synonyms": ["couch"], "threshold": 0.3}]}
JSON_EXAMPLES: dict[str, dict[str, Any]] = {
    "file": {"summary": "The file itself", "value": {"image": {"base64": "/9j/4AAQSkZJRgABAQ..."}, **_EXAMPLE_CLASSES}},
    "again": {
        "summary": "An image sent before, by its id",
        "value": {"image": {"id": "9b0b54d1c7..."}, **_EXAMPLE_CLASSES},
    },
    "corrected": {
        "summary": "A click on the object, corrected by one outside it",
        "value": {
            "image": {"id": "9b0b54d1c7..."},
            "prompts": [{"points": [{"x": 12, "y": 40}, {"x": 30, "y": 44, "positive": False}]}],
        },
    },
}
# No `example`: /docs would fill it into the form and send prompts with the chosen classes.
_FORM_PROMPTS = {
    "type": "string",
    "description": "objects to cut out, as the JSON list of application/json: "
    '`[{"points": [{"x": 12, "y": 40, "positive": true}]}, {"box": [2, 4, 30, 40]}]`',
}


def _flat_fields() -> dict[str, Any]:
    schema = Question.model_json_schema(ref_template="#/components/schemas/{model}")
    properties: dict[str, Any] = {name: _plain(described) for name, described in schema["properties"].items()}
    properties["classes"] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "class to search for; repeat the field for each class",
        "example": ["sky", "building", "tree"],
    }
    properties["prompts"] = _FORM_PROMPTS
    properties["background"] = {
        "type": "string",
        "description": "background rule: true, false, or the JSON object of application/json",
    }
    return {"request": {"type": "string", "description": "all other fields, as one JSON object"}, **properties}


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    """A field of a form, without null and without a default, which /docs would fill in and send."""
    (kind, *_) = [option for option in described.get("anyOf", [{}]) if option.get("type") != "null"]
    return {name: value for name, value in (described | kind).items() if name not in ("anyOf", "default", "examples")}


SEGMENT_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"$ref": "#/components/schemas/SegmentForm"},
            "encoding": {"classes": {"style": "form", "explode": True}},
        },
        "application/json": {
            "schema": {"$ref": "#/components/schemas/JsonRequest"},
            "examples": JSON_EXAMPLES,
        },
        # With the fields in the query: `POST /segment?classes=sky&classes=tree`. `image/*` is accepted, too, but client
        # generators do not know it.
        "application/octet-stream": {
            "schema": {"type": "string", "format": "binary", "description": f"image file: {STILL_FORMATS}"}
        },
    },
}

PICTURE: dict[str, Any] = {
    "schema": {
        "type": "string",
        "format": "binary",
        "description": "label map as a PNG; with `overlay`, the overlay instead",
    },
    "example": "\x89PNG...",
}
# Valid for every request. Listed here because openapi-python-client 0.29 misses imports for several body forms unless
# an operation has an optional parameter.
REQUEST_ID: dict[str, Any] = {
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "description": "request id, returned with the answer and logged: at most 64 of A-Z, a-z, 0-9, ., _ and -; "
    "otherwise the service generates one",
    "schema": {"type": "string", "examples": ["0f9c1f6f0f7a4c3a9f6f3a2b1c0d9e8f"]},
}


def query() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": f"{described.get('description', name)} (only if the body is the image file)",
            # No example: /docs would fill it in and send it with a form.
            "schema": {key: value for key, value in described.items() if key not in ("description", "example")},
        }
        for name, described in _flat_fields().items()
    ]


def json_body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def problems(*errors: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """Response descriptions by status, from errors."""
    by_status: dict[int, list[type[ServiceError]]] = {}
    for error in dict.fromkeys(errors):
        by_status.setdefault(error.status, []).append(error)
    return {status: _problem(same) for status, same in by_status.items()}


def _problem(errors: list[type[ServiceError]]) -> dict[str, Any]:
    return {
        "description": "; ".join(f"{error.title} (`{error.type}`)" for error in errors),
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {error.type: {"summary": error.title, "value": _example(error)} for error in errors},
            }
        },
    }


def _example(error: type[ServiceError]) -> dict[str, Any]:
    example = {
        "type": error.type,
        "title": error.title,
        "status": error.status,
        "detail": "what came, what was expected",
    }
    if error is InvalidValue:
        detail = "threshold: expected less than or equal to 1, got 7"
        errors = [{"field": "threshold", "value": 7, "expected": "less than or equal to 1"}]
        example |= {"detail": detail, "errors": errors}
    return example | {"request_id": "0f9c1f6f0f7a4c3a9f6f3a2b1c0d9e8f"}


NOT_OF_SEGMENT = (
    ServiceError,
    Unauthorized,
    NameTaken,
    ReadOnly,
    UnknownJob,
    UnknownStream,
    UnknownTraining,
    PreconditionFailed,
)
OF_ALL = (Unauthorized, NotAllowed, CrossSite, UnknownHost, RateLimited)
OF_SEGMENT = tuple(kind for kind in KINDS.values() if kind not in NOT_OF_SEGMENT)
PROBLEMS = problems(*OF_SEGMENT)
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def secure(schema: dict[str, Any], open_to_all: Container[str], *, required: bool) -> None:
    """Add what `Guard` and `WebPages` check, to all operations except of open paths."""
    schema["components"]["securitySchemes"] = SECURITY_SCHEMES
    either: list[dict[str, list[str]]] = [{name: []} for name in SECURITY_SCHEMES]
    guarded = {str(status): described for status, described in problems(*OF_ALL).items()}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):  # of FastAPI, which we never send
                del operation["responses"]["422"]
            if path not in open_to_all:
                operation["security"] = either if required else [{}, *either]
                operation["responses"] = guarded | operation["responses"]


def complete(schema: dict[str, Any], more: Iterable[type[BaseModel]]) -> None:
    """Add the component schemas of the hand-written parts and `more`, and drop FastAPI's own errors."""
    components = schema["components"]["schemas"]
    components["SegmentForm"] = {
        "type": "object",
        "title": "SegmentForm",
        "description": "The multipart/form-data form of POST /segment: single fields, or all of them as `request`.",
        "required": ["image"],
        "additionalProperties": False,
        "properties": {
            "image": {
                "type": "string",
                "format": "binary",
                "description": f"image file: {STILL_FORMATS}; up to {MAX_IMAGES} of them, each a field of its own",
            },
            **_flat_fields(),
        },
    }
    own: tuple[type[BaseModel], ...] = (JsonRequest, Problem, VocabularyInput, StreamInput, FrameInput)
    for model in (*own, *more):
        described = model.model_json_schema(ref_template="#/components/schemas/{model}")
        components |= described.pop("$defs", {})
        components[model.__name__] = described
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
