"""What adapters share: answers as what a tool's JSON is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lexiseg_model.types import Ring, Segment
from lexiseg_service.gateway.turns import Turns
from lexiseg_service.question.messages import WorkerAnswer

T = TypeVar("T")
AT_ONCE = 2**23  # pixels of all masks together, which take a tenth of a second
CORNER = 64  # pixels of a mask take as long as one
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


async def each(request: Request, answer: WorkerAnswer, make: Callable[[Segment, Sequence[Ring]], T]) -> list[T]:
    """What `make` gives of each of the chosen segments, made beside the event loop.

    A mask of 40 megapixels takes half a second and some hundred megabytes: of answers that are large there is one
    mask at a time, clients in turns, for as long as somebody is there to have them.

    Raises:
        ClientDisconnect: the client hung up.
    """
    segments = list(chosen(answer))
    if answer.polygons is None:
        pixels = len(segments) * answer.size[0] * answer.size[1]
    else:
        pixels = CORNER * sum(len(ring.exterior) // 2 for _, rings in segments for ring in rings)
    if pixels <= AT_ONCE:
        return await asyncio.to_thread(lambda: [make(*segment) for segment in segments])
    turns: Turns = request.app.state.turns
    made: list[T] = []
    for segment in segments:
        if await request.is_disconnected():
            raise ClientDisconnect
        made.append(await turns.masks.done(request.state.client, partial(make, *segment)))
    return made


def outline(ring: Ring) -> list[list[int]]:
    """The corners of a part as pairs; its holes, which no polygon of these tools can say, are left out."""
    return [list(pair) for pair in zip(ring.exterior[::2], ring.exterior[1::2], strict=True)]


def run_lengths(segment: Segment) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths."""
    return {"size": segment.mask.size, "counts": segment.mask.counts}
