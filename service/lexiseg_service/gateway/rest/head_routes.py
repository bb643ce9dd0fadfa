"""The /heads routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lexiseg_service.errors import (
    InvalidValue,
    ModelChanged,
    NameTaken,
    NotReady,
    PreconditionFailed,
    SwitchedOff,
    UnknownHead,
)
from lexiseg_service.gateway.heads import export
from lexiseg_service.gateway.heads.head import NamedHead
from lexiseg_service.gateway.heads.reviewed_set import MAX_ARCHIVE_BYTES
from lexiseg_service.gateway.heads.schemas import EXAMPLE, HeadInput, HeadList, HeadOutput, NextInput, NextOutput
from lexiseg_service.gateway.heads.teaching import Teaching
from lexiseg_service.gateway.parts import Part
from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.rest import body, uploads
from lexiseg_service.gateway.rest.openapi import (
    OF_SEGMENT,
    REQUEST_ID,
    TAGGED,
    IfMatch,
    IfNoneMatch,
    json_body,
    problems,
)
from lexiseg_service.gateway.rest.paths import STABLE, answer_head
from lexiseg_service.gateway.rest.routes import as_json, caller_of, settings_of, until_disconnect
from lexiseg_service.gateway.use_case import HEADS_ARE_OFF

NAME = "heads"
router = APIRouter(tags=["heads"])
Name = Annotated[str, Path(description="name of the head: at most 64 characters of a-z, 0-9 and -", examples=["mugs"])]
BYTES = "application/octet-stream"
FILE = {"type": "string", "format": "binary"}
MORE_VALUES = 500_000  # in the JSON, added to the largest question's: of the objects of some hundred pictures
FORM = uploads.form_schema("zip of labelled pictures, as the page and annotation tools export them", "HeadInput")
CREATE: dict[str, Any] = {"parameters": [REQUEST_ID], **json_body("HeadInput", EXAMPLE)}
CREATE["requestBody"]["content"]["multipart/form-data"] = FORM
CHANGE: dict[str, Any] = json_body("HeadInput", EXAMPLE)
CHANGE["requestBody"]["content"] |= {"multipart/form-data": FORM, BYTES: {"schema": FILE}}
PICTURES: dict[str, JsonValue] = {"images": [{"id": "b5bb9d8014a0f9b1d61e21e796d78dcc"}]}
NEXT: dict[str, Any] = {"parameters": [REQUEST_ID], **json_body("NextInput", PICTURES)}
NEXT["requestBody"]["content"]["multipart/form-data"] = uploads.form_schema("zip of pictures", "NextInput")
REFUSALS = problems(*OF_SEGMENT, SwitchedOff, NameTaken, ModelChanged, PreconditionFailed)


@router.post(
    "/heads",
    summary="Teach classes by reviewed pictures",
    status_code=201,
    responses={201: {"model": HeadOutput, "description": "Created", **TAGGED}, **REFUSALS},
    openapi_extra=CREATE,
)
async def create_head(request: Request) -> Response:
    """Create a head from pictures with labelled objects; `POST /v1/segment` takes it as `head`."""
    teaching = teaching_of(request)  # before an archive is read
    async with uploads.parsed(request, HeadInput, MORE_VALUES) as (head_input, archive):
        if head_input.name is None:
            raise InvalidValue.of("name", None, "a name of the new head")
        work = teaching.teach(head_input.name, head_input, caller_of(request), archive, is_new=True)
        head = await until_disconnect(request, work)
    answer = _full(head, 201)
    answer.headers["Location"] = f"{STABLE}/heads/{head.name}"
    return answer


@router.get(
    "/heads",
    summary="List heads",
    responses={200: {"model": HeadList}, **problems(SwitchedOff)},
)
async def list_heads(request: Request) -> Response:
    """List the heads of this API key, with what their classes have learned."""
    heads = await teaching_of(request).heads.list_all(caller_of(request).owner)
    return as_json({"heads": heads})


@router.get(
    "/heads/{name}",
    summary="One head",
    responses={
        200: {"model": HeadOutput, "content": {BYTES: {"schema": FILE}}, **TAGGED},
        304: {"description": "Unchanged since the ETag in `If-None-Match`"},
        **problems(SwitchedOff, UnknownHead, NotReady, InvalidValue),
    },
)
async def get_head(
    request: Request,
    name: Name,
    as_file: Annotated[
        bool, Query(alias="export", description="whether to return the head as a file, which PUT takes again")
    ] = False,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return a head with its classes and the keys of its pictures; with `Accept: application/octet-stream`, a file."""
    heads = teaching_of(request).heads
    head = await heads.find(name, caller_of(request).owner)
    if Preconditions(if_none_match=if_none_match).unchanged(head.etag):
        return Response(status_code=304, headers={"ETag": head.etag})
    if not as_file and BYTES not in request.headers.get("accept", ""):
        return _full(head)
    pieces = export.pieces(head, lambda pictures: heads.contents(head.slot, pictures, {}))
    first = await anext(pieces)  # what cannot be read is refused by a status

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    disposition = f'attachment; filename="{head.name}{export.SUFFIX}"'
    # Compressed it would be a third smaller, for 0.2 s of a core a picture.
    headers = {"Content-Disposition": disposition, "Content-Encoding": "identity"}
    return StreamingResponse(whole(), headers=headers, media_type=BYTES)


@router.put(
    "/heads/{name}",
    summary="Change or create a head",
    responses={200: {"model": HeadOutput, "description": "Changed or created", **TAGGED}, **REFUSALS},
    openapi_extra=CHANGE,
)
async def put_head(
    request: Request, name: Name, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
) -> Response:
    """Add pictures and classes to a head, replace pictures of the same `key`, and take out others.

    An exported head, as application/octet-stream, or a zip of labelled pictures in a form replaces the whole head.
    """
    teaching, caller = teaching_of(request), caller_of(request)
    preconditions = Preconditions(if_match, if_none_match)
    if body.kind_of(request) == BYTES:
        async with uploads.spooled(request) as file:
            imported = await asyncio.to_thread(export.read, file, settings_of(request).limits)
        return _full(await until_disconnect(request, teaching.import_head(name, imported, caller, preconditions)))
    async with uploads.parsed(request, HeadInput, MORE_VALUES) as (head_input, archive):
        whole = archive is not None
        work = teaching.teach(name, head_input, caller, archive, preconditions, whole=whole)
        return _full(await until_disconnect(request, work))


@router.post(
    "/heads/{name}/next",
    summary="Order pictures by what labelling them helps",
    responses={200: {"model": NextOutput}, **problems(*OF_SEGMENT, SwitchedOff, UnknownHead, ModelChanged)},
    openapi_extra=NEXT,
)
async def next_pictures(request: Request, name: Name) -> Response:
    """Return the keys of pictures, first of the ones with a class that no reviewed picture shows, then of the least
    certain ones."""
    teaching = teaching_of(request)  # before an archive is read
    async with uploads.parsed(request, NextInput, MORE_VALUES) as (next_input, archive):
        work = teaching.next_pictures(name, next_input, caller_of(request), archive)
        ranked = await until_disconnect(request, work)
    return as_json({"keys": [one.key for one in ranked], "entropy": [round(one.entropy, 4) for one in ranked]})


@router.delete(
    "/heads/{name}",
    summary="Delete a head",
    status_code=204,
    responses=problems(SwitchedOff, UnknownHead, PreconditionFailed, NotReady),
)
async def delete_head(request: Request, name: Name, if_match: IfMatch = None) -> Response:
    """Delete a head, and what is kept of its pictures."""
    await teaching_of(request).heads.delete(name, caller_of(request).owner, Preconditions(if_match))
    return Response(status_code=204)


def teaching_of(request: Request) -> Teaching:
    """The operations on heads. Raises SwitchedOff: none are kept."""
    teaching: Teaching | None = request.app.state.parts[NAME]
    if teaching is None:
        raise SwitchedOff(HEADS_ARE_OFF)
    return teaching


def _full(head: NamedHead, status: int = 200) -> Response:
    answer = as_json(head.output(), status)
    answer.headers["ETag"] = head.etag
    return answer


answer_head(router)
PART = Part(
    NAME,
    router,
    [HeadInput, NextInput],
    Teaching.opened,
    lambda _: MAX_ARCHIVE_BYTES,
)
