"""What adapters share: answers as what a tool's JSON is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import orjson
from starlette.responses import Response

from lexiseg_model.types import Ring, Segment
from lexiseg_service.question.messages import WorkerAnswer

T = TypeVar("T")
SIMPLIFY = 1.0  # pixels that a polygon for an annotation tool may stray: a hundredth of the corners, for people to drag


def as_json(content: Any) -> Response:
    """A response of JSON."""
    return Response(orjson.dumps(content), media_type="application/json")


def chosen(answer: WorkerAnswer) -> Iterator[tuple[Segment, Sequence[Ring]]]:
    """The segments, of a click the best one, with their polygons, which are none where they were not asked for."""
    polygons: Sequence[Sequence[Ring]] = answer.polygons or [()] * len(answer.segments)
    return (
        (segment, rings) for segment, rings in zip(answer.segments, polygons, strict=True) if not segment.mask_index
    )


async def each(answer: WorkerAnswer, make: Callable[[Segment, Sequence[Ring]], T]) -> list[T]:
    """What `make` gives of each of the chosen segments, in a thread."""
    return await asyncio.to_thread(lambda: [make(*segment) for segment in chosen(answer)])


def outline(ring: Ring) -> list[list[int]]:
    """The corners of a part as pairs; its holes, which no polygon of these tools can say, are left out."""
    return [list(pair) for pair in zip(ring.exterior[::2], ring.exterior[1::2], strict=True)]


def run_lengths(segment: Segment) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths."""
    return {"size": segment.mask.size, "counts": segment.mask.counts}
