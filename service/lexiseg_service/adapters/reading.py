"""What adapters share: what a tool sent, as its JSON, its images in text and the words in its address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request

from lexiseg_service.gateway.parsing import MAX_BYTES_ON_EVENT_LOOP
from lexiseg_service.gateway.rest.body import parsing_of
from lexiseg_service.question.classes import refuse_unsplit
from lexiseg_service.question.examples import content_of
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import parse_object
from lexiseg_service.settings import Limits, Settings

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
IMAGE = "base64 (RFC 4648), a data URI or a URL"
SEVERAL = "repeat the parameter, as ?classes=sky&classes=tree"
# What may stand behind an adapter's address, for tools that cannot send it themselves.
IN_THE_ADDRESS = ("vocabulary", "task", "model", "threshold", "refine", "max_side", "simplify")


def limits_of(request: Request) -> Limits:
    """Of a request."""
    settings: Settings = request.app.state.settings
    return settings.limits


async def read_as(schema: type[M], request: Request) -> M:
    """The JSON object of a body as a schema's, whatever its content-type: some tools send none.

    Raises:
        MalformedRequest: it is none.
        TooLarge: it holds more values than a request can need.
        InvalidValue: a field is missing or out of range.
    """
    content = await request.body()
    parse = partial(parse_object, content, limits_of(request))
    return validate(schema, await parsing_of(request).run(len(content), parse))


def image_in(text: str, field: str) -> tuple[bytes | None, str | None]:
    """An image that a tool sent as text: (its bytes, None) of base64 or a data URI, (None, its URL) of a URL.

    Raises:
        InvalidValue: it is neither.
    """
    if text.startswith(("https://", "http://")):
        return None, text
    return content_of(text, field, IMAGE), None


async def image_beside(text: str, field: str) -> tuple[bytes | None, str | None]:
    """As `image_in`; what is long is decoded beside the event loop."""
    return await text_beside(text, lambda text: image_in(text, field))


async def text_beside(text: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of a text; of a long one beside the event loop."""
    return parse(text) if len(text) <= MAX_BYTES_ON_EVENT_LOOP else await asyncio.to_thread(parse, text)


def options_of(query: QueryParams) -> dict[str, Any]:
    """Fields of a question that stand in an adapter's address: `?classes=cat&classes=dog&task=instance`.

    Raises:
        InvalidValue: a list was meant as several classes.
    """
    fields: dict[str, Any] = {name: query[name] for name in IN_THE_ADDRESS if name in query}
    if "classes" not in query:
        return fields
    classes = query.getlist("classes")
    refuse_unsplit(classes, SEVERAL)
    return {**fields, "classes": classes}
