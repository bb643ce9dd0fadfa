"""The page's export: answers and corrections of its project, written in any format of labels. No part of the API.

Pictures stay in the browser, which puts them into the zip. All writers share one thread, a piece at a time, so that
exports of several clients go on side by side and take one core at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lexiseg_labels.data_set import DataSet, Format, Picture
from lexiseg_labels.exports import Packed, format_of, formats, packed
from lexiseg_labels.masks import rle
from lexiseg_labels.names import MAX_BYTES, UNSAFE_IN_PATH
from lexiseg_labels.segments import MAX_ID, MAX_SIDE, RunLengths, Segment
from lexiseg_model.cards import StrictModel
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.rest import body
from lexiseg_service.gateway.rest.routes import settings_of
from lexiseg_service.question.schemas import MaskInput, Probability, TrackId
from lexiseg_service.settings import Limits

MORE_VALUES = 1_000_000  # commas and brackets of the JSON; run lengths have brackets, too
MAX_PICTURES = 10_000  # with up to five files each, which the directory of a zip can count
MAX_PIXELS = 20_000_000_000  # of all masks, each of the size of its picture: about a minute of work
MAX_CHANGES = 500_000  # within the masks of a picture, which writers hold: a few seconds of work
router = APIRouter(include_in_schema=False)
_WRITER = ThreadPoolExecutor(1, "export")


def _file_name(name: str) -> str:
    """The path of a picture's file within its set. Raises ValueError: it may lead out of it."""
    parts = [*name.split("/"), *_stem(name).split("/")]
    if UNSAFE_IN_PATH.search(name) or any(not part.strip(". ") or len(part.encode()) > MAX_BYTES for part in parts):
        raise ValueError(f"the path of a file within a folder, each name of at most {MAX_BYTES} bytes")
    return name


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


class SegmentInput(BaseModel):
    """A segment as in an answer; what its mask and its place tell (id, area, box, class) is not read."""

    label: str | None
    score: Probability
    mask: MaskInput
    track_id: TrackId | None = None


class PictureInput(StrictModel):
    """A picture with its segments, in the order in which they are numbered."""

    name: Annotated[str, AfterValidator(_file_name)]
    size: tuple[Annotated[int, Field(ge=1, le=MAX_SIDE)], Annotated[int, Field(ge=1, le=MAX_SIDE)]]
    model: str = ""
    reviewed: bool | None = None
    segments: Annotated[list[SegmentInput], Field(max_length=MAX_ID)]


class ProjectInput(StrictModel):
    """The pictures of a project, and the classes in the order in which formats number them."""

    classes: list[str]
    pictures: Annotated[list[PictureInput], Field(max_length=MAX_PICTURES)]


@router.post("/playground/export/{name}")
async def export(request: Request, name: str) -> Response:
    """The labels of a project in a format: its only file, or a zip."""
    kind = _format(name)
    limits = settings_of(request).limits
    project = await body.read_json(request, ProjectInput, limits, more_values=MORE_VALUES)
    write = partial(_pack, kind, project, limits)
    media_type, file, content = await asyncio.get_running_loop().run_in_executor(_WRITER, write)
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    return StreamingResponse(_in_turn(content), headers=headers, media_type=media_type)


async def _in_turn(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    while (piece := await loop.run_in_executor(_WRITER, next, content, None)) is not None:
        yield piece


def _format(name: str) -> Format:
    try:
        return format_of(name)
    except ValueError:
        raise InvalidValue.of("format", name, f"one of {', '.join(formats())}") from None


def _pack(kind: Format, project: ProjectInput, limits: Limits) -> Packed:
    """The project's labels. Raises InvalidValue: they do not fit together, their format, or the limits."""
    if len(project.classes) > limits.max_classes:
        raise InvalidValue.of("classes", f"{len(project.classes)} classes", f"at most {limits.max_classes}")
    numbers = {name: number for number, name in enumerate(project.classes)}
    if len(numbers) < len(project.classes):
        raise InvalidValue.of("classes", "a name twice", "each name once")
    pixels = sum(len(one.segments) * one.size[0] * one.size[1] for one in project.pictures)
    if pixels > MAX_PIXELS:
        raise InvalidValue.of("pictures", f"{pixels:,} pixels of masks", f"at most {MAX_PIXELS:,}: fewer pictures")
    pictures = [
        _picture(one, numbers, f"pictures.{place}", limits.max_pixels) for place, one in enumerate(project.pictures)
    ]
    if len({picture.name for picture in pictures}) < len(pictures):
        raise InvalidValue.of("pictures", "a name twice", "each name once, also without its suffix")
    try:
        return packed(kind, DataSet(project.classes, lambda: pictures), for_pictures=True)
    except ValueError as error:
        raise InvalidValue.of("classes", f"{len(project.classes)} classes", f"{kind.name}: {error}") from None


def _picture(one: PictureInput, numbers: dict[str, int], field: str, max_pixels: int) -> Picture:
    height, width = one.size
    if height * width > max_pixels:
        raise InvalidValue.of(f"{field}.size", f"{height} x {width}", f"at most {max_pixels:,} pixels")
    segments = [
        _segment(place, segment, one.size, numbers, f"{field}.segments.{place}")
        for place, segment in enumerate(one.segments)
    ]
    if (changes := sum(count for _, count in segments)) > MAX_CHANGES:
        raise InvalidValue.of(f"{field}.segments", f"{changes:,} borders of pixels", f"at most {MAX_CHANGES:,}")
    name = _stem(one.name)
    suffix = one.name.removeprefix(name)
    own = [segment for segment, _ in segments]
    return Picture(name, one.size, own, suffix=suffix, model=one.model, reviewed=one.reviewed)


def _segment(
    place: int, one: SegmentInput, size: tuple[int, int], numbers: dict[str, int], field: str
) -> tuple[Segment, int]:
    """A segment, and how often its mask changes from one pixel to the next."""
    if one.label is not None and one.label not in numbers:
        raise InvalidValue.of(f"{field}.label", one.label, "one of `classes`, or null")
    if one.mask.size != size:
        raise InvalidValue.of(f"{field}.mask.size", list(one.mask.size), f"that of the picture, {list(size)}")
    runs = rle.runs_of(one.mask.counts, size)
    area, box = rle.extent_of(runs, size[0])
    index = None if one.label is None else numbers[one.label]
    shape = RunLengths(size, one.mask.counts)
    segment = Segment(place + 1, one.label, index, one.score, area, box, shape, track_id=one.track_id)
    return segment, len(runs) + rle.changes_across(runs, size[0])
