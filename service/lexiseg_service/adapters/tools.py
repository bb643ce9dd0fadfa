"""Shared by the adapters: read a tool's request, ask as POST /segment does, write the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request

from lexiseg_model.types import Ring, Segment
from lexiseg_service.gateway.rest.routes import answer_of, settings_of
from lexiseg_service.question.classes import refuse_unsplit
from lexiseg_service.question.messages import ImageSource, WorkerAnswer
from lexiseg_service.question.prompts import decode_base64
from lexiseg_service.question.schemas import Question
from lexiseg_service.question.validation import off_event_loop, parse_object, validate

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
IMAGE = "base64 (RFC 4648), a data URI or a URL"
SEVERAL = "repeat the parameter, as ?classes=sky&classes=tree"
# Query parameters of an adapter's address, for tools that cannot send these fields.
IN_THE_ADDRESS = ("vocabulary", "task", "model", "threshold", "refine", "max_side", "simplify")
SIMPLIFY = 1.0  # pixels that a polygon for an annotation tool may stray: a hundredth of the corners, for people to drag


async def each(answer: WorkerAnswer, make: Callable[[Segment], T]) -> list[T]:
    """Call `make` for the segments, of each prompt the best one. Large masks are converted in a thread."""
    best = [segment for segment in answer.segments if not segment.mask_index]
    return await off_event_loop(answer.nbytes, lambda: list(map(make, best)))


def outline(ring: Ring) -> list[list[int]]:
    """The corners of a part as pairs; holes are left out, because polygons of these tools have none."""
    return [list(pair) for pair in zip(ring.exterior[::2], ring.exterior[1::2], strict=True)]


def run_lengths(segment: Segment) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths."""
    return {"size": segment.mask.size, "counts": segment.mask.counts}


async def read_as(schema: type[M], request: Request) -> M:
    """Parse a JSON body by a schema, whatever its content-type: some tools send none.

    Raises:
        MalformedRequest: it is none.
        TooLarge: it holds more values than a request can need.
        InvalidValue: a field is missing or out of range.
    """
    content = await request.body()
    parse = partial(parse_object, content, settings_of(request).limits)
    return validate(schema, await off_event_loop(len(content), parse))


def image_in(text: str, field: str) -> ImageSource:
    """An image that a tool sent as text: base64, a data URI or a URL. Raises InvalidValue: it is none of them."""
    if text.startswith(("https://", "http://")):
        return ImageSource(url=text)
    return ImageSource(decode_base64(text, field, IMAGE))


async def image_of_text(text: str, field: str) -> ImageSource:
    """As `image_in`; a long text is decoded in a thread."""
    return await off_event_loop(len(text), partial(image_in, text, field))


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


async def ask(request: Request, fields: Mapping[str, Any], image: ImageSource) -> WorkerAnswer:
    """The answer to a question about an image, by the way of `POST /segment`. Fields that are None are left out.

    Raises:
        ServiceError: of any kind.
        ClientDisconnect: the client hung up.
    """

    async def reading() -> tuple[Question, ImageSource]:
        return validate(Question, {name: value for name, value in fields.items() if value is not None}), image

    return await answer_of(request, reading())
