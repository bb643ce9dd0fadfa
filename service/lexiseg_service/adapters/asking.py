"""What adapters share: a tool's JSON and images as what the use case takes."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request

from lexiseg_service.errors import InvalidValue, MalformedRequest
from lexiseg_service.gateway.rest.asking import answer_of
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.classes import refuse_unsplit
from lexiseg_service.question.examples import DATA_URI, LINE_BREAKS
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import parse_json
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.question.schemas import Question
from lexiseg_service.settings import Limits, Settings

M = TypeVar("M", bound=BaseModel)
SEVERAL = "repeat the parameter, as ?classes=sky&classes=tree"
# What may stand behind an adapter's address, for tools that cannot send it themselves.
IN_THE_ADDRESS = ("vocabulary", "task", "model", "threshold", "refine", "max_side", "simplify")


def limits_of(request: Request) -> Limits:
    """Of a request."""
    settings: Settings = request.app.state.settings
    return settings.limits


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object of a body, whatever its content-type: some tools send none.

    Raises:
        MalformedRequest: it is none.
        TooLarge: it holds more values than a request can need.
    """
    parsed = await asyncio.to_thread(parse_json, await request.body(), limits_of(request))
    if not isinstance(parsed, dict):
        raise MalformedRequest(f"the JSON body is a {type(parsed).__name__}; expected an object")
    return parsed


async def read_as(schema: type[M], request: Request) -> M:
    """The JSON object of a body as a schema's.

    Raises:
        InvalidValue: a field is missing or out of range.
    """
    return validate(schema, await read_object(request))


def image_in(text: str, field: str) -> tuple[bytes | None, str | None]:
    """An image that a tool sent as text: (its bytes, None) of base64 or a data URI, (None, its URL) of a URL.

    Raises:
        InvalidValue: it is neither.
    """
    if text.startswith(("https://", "http://")):
        return None, text
    try:
        return base64.b64decode(DATA_URI.sub("", text, count=1).translate(LINE_BREAKS), validate=True), None
    except (binascii.Error, ValueError):
        raise InvalidValue.of(field, f"{len(text)} characters", "base64 (RFC 4648), a data URI or a URL") from None


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


def prompt_of(points: Iterable[tuple[float, float, bool]], boxes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """One prompt of what an annotator has marked: all points, each on the object or beside it, and the last box."""
    marked = [{"x": x, "y": y, "positive": positive} for x, y, positive in points]
    return {"prompts": [{"points": marked, "box": list(boxes[-1]) if boxes else None}], "task": "prompt"}


async def ask_about(request: Request, fields: Mapping[str, Any], text: str, field: str) -> WorkerAnswer:
    """As `ask`, about an image that a tool sent as text in a field.

    Raises:
        ServiceError: of any kind.
        ClientDisconnect: the client hung up.
    """
    return await ask(request, fields, *image_in(text, field))


async def ask(
    request: Request, fields: Mapping[str, Any], image: bytes | None = None, url: str | None = None
) -> WorkerAnswer:
    """The answer to a question about an image, by the way of `POST /segment`. Fields that are None are left out.

    Raises:
        ServiceError: of any kind.
        ClientDisconnect: the client hung up.
    """

    async def reading() -> Asked:
        question = validate(Question, {name: value for name, value in fields.items() if value is not None})
        return Asked(image, question, image_url=url)

    return await answer_of(request, reading())
