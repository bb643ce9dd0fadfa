"""Steps that adapters share: parse a tool's request, ask as `POST /segment` does, convert the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request

from lexiseg_labels.answers import AnswerWarning
from lexiseg_labels.masks.joining import joined_contour
from lexiseg_labels.segments import ring_of
from lexiseg_model.types import Ring, Segment
from lexiseg_service.gateway.rest.body import refuse_compressed
from lexiseg_service.gateway.rest.routes import answer_of, settings_of
from lexiseg_service.question.classes import refuse_unsplit
from lexiseg_service.question.messages import ImageSource, WorkerAnswer
from lexiseg_service.question.prompts import decode_base64
from lexiseg_service.question.schemas import Question
from lexiseg_service.question.validation import off_event_loop, parse_object, validate

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
EXPECTED_IMAGE = "base64 (RFC 4648), a data URI or a URL"
HOW_TO_SEND_SEVERAL = "repeat the parameter, as ?classes=sky&classes=tree"
# Fields of a question as query parameters, for tools that cannot send them in the body.
QUERY_FIELDS = ("vocabulary", "task", "model", "threshold", "refine", "max_side", "simplify")
SIMPLIFY = 1.0  # pixels of deviation of polygons for annotation tools: a hundredth of the corners, which people drag


async def convert(answer: WorkerAnswer, write: Callable[[Segment], T]) -> list[T]:
    """Write the segments in a tool's format, of each prompt only its best mask; a large answer in a thread."""
    best = [segment for segment in answer.segments if not segment.mask_index]
    return await off_event_loop(answer.nbytes, lambda: list(map(write, best)))


def notes_of(warnings: Iterable[AnswerWarning]) -> dict[int | None, str]:
    """What an answer warns of a class, by index: that the model does not know its word, or how it was read."""
    notes: dict[int | None, str] = {}
    for warning in warnings:
        field, _, number = (warning.field or "").partition(".")
        if field == "classes" and number.isdecimal():
            notes[int(number)] = "; ".join(filter(None, (notes.get(int(number)), warning.detail)))
    return notes


def outline(ring: Ring) -> list[list[int]]:
    """Corners [[x, y], ...] of a part, joined with its holes by lines without width: the tools' polygons have none."""
    corners: list[list[int]] = joined_contour([ring_of(ring.exterior, ring.holes)]).tolist()
    return corners


def doubled_area(corners: Sequence[Sequence[int]]) -> int:
    """Twice the area inside an outline [[x, y], ...], closed or not."""
    return abs(sum(x * v - u * y for (x, y), (u, v) in pairwise([*corners, *corners[:1]])))


def run_lengths(segment: Segment) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths."""
    return {"size": segment.mask.size, "counts": segment.mask.counts}


async def read_as(schema: type[M], request: Request, more_values: int = 0) -> M:
    """Parse a JSON body by a schema; the content type is not checked, because some tools send none.

    It may hold `more_values` than the largest question.

    Raises:
        MalformedRequest: the body is not JSON, or is compressed.
        TooLarge: it holds more values than a request can need.
        InvalidValue: a field is missing or out of range.
    """
    refuse_compressed(request)
    content = await request.body()
    parse = partial(parse_object, content, settings_of(request).limits, more_values)
    return validate(schema, await off_event_loop(len(content), parse))


async def image_of_text(text: str, field: str) -> ImageSource:
    """An image that a tool sent as text: base64, a data URI or a URL. Raises InvalidValue: it is none of them."""
    if text.startswith(("https://", "http://")):
        return ImageSource(url=text)
    return ImageSource(await off_event_loop(len(text), partial(decode_base64, text, field, EXPECTED_IMAGE)))


def options_of(query: QueryParams) -> dict[str, Any]:
    """Fields of a question in the query string: `?classes=cat&classes=dog&task=instance`.

    Raises:
        InvalidValue: one parameter seems to list several classes.
    """
    fields: dict[str, Any] = {name: query[name] for name in QUERY_FIELDS if name in query}
    if "classes" not in query:
        return fields
    classes = query.getlist("classes")
    refuse_unsplit(classes, HOW_TO_SEND_SEVERAL)
    return {**fields, "classes": classes}


def prompt_of(points: Iterable[tuple[float, float, bool]], boxes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """One prompt from an annotator's marks: all points (x, y, positive), and the last box."""
    marked = [{"x": x, "y": y, "positive": positive} for x, y, positive in points]
    return {"prompts": [{"points": marked, "box": list(boxes[-1]) if boxes else None}], "task": "prompt"}


async def ask(request: Request, fields: Mapping[str, Any], image: ImageSource) -> WorkerAnswer:
    """Ask a question about an image, as `POST /segment` does; fields that are None are left out.

    Raises:
        ServiceError: of any kind.
        ClientDisconnect: the client hung up.
    """

    async def reading() -> tuple[Question, ImageSource]:
        return validate(Question, {name: value for name, value in fields.items() if value is not None}), image

    return await answer_of(request, reading())
