"""The /vocabularies routes."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.errors import NotAllowed, NotReady, PreconditionFailed, ReadOnly, UnknownVocabulary
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.rest import body
from lexiseg_service.gateway.rest.openapi import OF_SEGMENT, TAGGED, IfMatch, IfNoneMatch, json_body, problems
from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.gateway.rest.routes import as_json, caller_of, use_case_of
from lexiseg_service.gateway.vocabularies.collection import Vocabularies
from lexiseg_service.gateway.vocabularies.named import NamedVocabulary
from lexiseg_service.gateway.vocabularies.schemas import EXAMPLE, VocabularyInput, VocabularyList, VocabularyOutput
from lexiseg_service.question.validation import off_event_loop

router = APIRouter(tags=["vocabularies"])

Name = Annotated[
    str, Path(description="name of the list: at most 64 characters of a-z, 0-9 and -", examples=["living-room"])
]


@router.get(
    "/vocabularies",
    summary="List class lists, built in and stored",
    responses={200: {"model": VocabularyList}},
)
async def list_vocabularies(request: Request) -> Response:
    """List the names that `POST /v1/segment` takes as `vocabulary`."""
    caller = caller_of(request)
    vocabularies = await _vocabularies(request).list_all(caller.owner)
    summaries = [_summary(vocabulary, caller) for vocabulary in vocabularies]
    return as_json({"vocabularies": summaries})


@router.get(
    "/vocabularies/{name}",
    summary="One class list",
    responses={
        200: {"model": VocabularyOutput, **TAGGED},
        304: {"description": "Unchanged since the ETag in `If-None-Match`"},
        **problems(UnknownVocabulary),
    },
)
async def get_vocabulary(request: Request, name: Name, if_none_match: IfNoneMatch = None) -> Response:
    """Return the classes of a list in the order of `class_index`, with synonyms and thresholds."""
    vocabulary = await _vocabularies(request).find(name, caller_of(request).owner)
    if Preconditions(if_none_match=if_none_match).unchanged(vocabulary.etag):
        return Response(status_code=304, headers={"ETag": vocabulary.etag})
    return await _full(request, vocabulary)


@router.put(
    "/vocabularies/{name}",
    summary="Store a class list",
    responses={
        200: {"model": VocabularyOutput, "description": "Replaced", **TAGGED},
        201: {"model": VocabularyOutput, "description": "Created", **TAGGED},
        **problems(*OF_SEGMENT, ReadOnly, PreconditionFailed),
    },
    openapi_extra=json_body("VocabularyInput", EXAMPLE),
)
async def put_vocabulary(
    request: Request, name: Name, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
) -> Response:
    """Create or replace a class list, validated like the classes of `POST /v1/segment`."""
    class_list = await body.read_json(request, VocabularyInput, request.app.state.settings.limits)
    class_list = await use_case_of(request).stored_form(class_list, caller_of(request))
    preconditions = Preconditions(if_match, if_none_match)
    vocabulary, created = await _vocabularies(request).put(name, class_list, preconditions, caller_of(request))
    if not created:
        return await _full(request, vocabulary)
    return await _full(request, vocabulary, 201, {"Location": request.url.path})


@router.delete(
    "/vocabularies/{name}",
    summary="Delete a stored class list",
    status_code=204,
    responses=problems(NotAllowed, ReadOnly, UnknownVocabulary, PreconditionFailed, NotReady),
)
async def delete_vocabulary(request: Request, name: Name, if_match: IfMatch = None) -> Response:
    """Delete a stored class list; built-in lists cannot be deleted."""
    await _vocabularies(request).delete(name, Preconditions(if_match), caller_of(request))
    return Response(status_code=204)


def _vocabularies(request: Request) -> Vocabularies:
    vocabularies: Vocabularies = request.app.state.vocabularies
    return vocabularies


def _summary(vocabulary: NamedVocabulary, caller: Caller) -> dict[str, Any]:
    names = ("name", "n_classes", "background", "built_in", "source", "shared")
    return {name: getattr(vocabulary, name) for name in names} | {"own": vocabulary.may_be_changed_by(caller)}


async def _full(
    request: Request, vocabulary: NamedVocabulary, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    content = {**_summary(vocabulary, caller_of(request)), "classes": vocabulary.document["classes"]}
    tagged = {"ETag": vocabulary.etag, **(headers or {})}
    size = sum(len(example.image.content or b"") for example in vocabulary.examples)
    encoded = await off_event_loop(size, partial(orjson.dumps, content))
    return Response(encoded, status, tagged, "application/json")


answer_head(router)
