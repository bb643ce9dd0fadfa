"""Answers as messages: the same ones go from worker to gateway and from gateway to client.

Fields of the same name are carried over by `wire.fields`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.types import AnswerWarning, Ring, Rle, Segment
from lexiseg_service.question.messages import CacheUse, FrameAnswer, MaskFormat, RenderedMap, Timings, WorkerAnswer
from lexiseg_service.wire.errors import error_of, problem_of
from lexiseg_service.wire.fields import Kinds, read, row, write

DECIMALS = 4  # of score and quality, as in the JSON of the REST routes
MILLISECOND_DECIMALS = 2


def encode_answer(answer: WorkerAnswer, request_id: str = "") -> pb.SegmentResponse:
    """The message of an answer."""
    segments = [_segment(segment, answer.mask) for segment in answer.segments]
    timings = [round(value, MILLISECOND_DECIMALS) for value in vars(answer.timings).values()]
    return write(pb.SegmentResponse, answer, id=request_id, segments=segments, timings_ms=timings)


def decode_answer(message: pb.SegmentResponse) -> WorkerAnswer:
    """The answer of a message; without run lengths in other mask formats than rle."""
    fields = read(message, KINDS)
    del fields["id"]
    segments = tuple(_read_segment(fields["size"], **segment) for segment in fields.pop("segments"))
    timings = fields.pop("timings_ms")
    return WorkerAnswer(segments=segments, timings=timings, mask=_mask_of(message), **fields)


def encode_frame_answer(answer: FrameAnswer, request_id: str = "") -> pb.SegmentVideoResponse:
    """The message of a frame's answer."""
    return write(
        pb.SegmentVideoResponse,
        answer,
        answer=None if answer.answer is None else encode_answer(answer.answer, request_id),
        error=None if answer.error is None else problem_of(answer.error, request_id),
    )


def decode_frame_answer(message: pb.SegmentVideoResponse) -> FrameAnswer:
    """The frame's answer of a message."""
    return FrameAnswer(
        **read(message, KINDS, ("frame_id", "timestamp_us", "dropped", "state_reset", "lost")),
        answer=decode_answer(message.answer) if message.HasField("answer") else None,
        error=error_of(message.error) if message.HasField("error") else None,
    )


def _mask_of(message: pb.SegmentResponse) -> MaskFormat:
    """The format of an answer's masks; any for an answer without segments."""
    if message.HasField("label_map"):
        return "png"
    if not message.segments:
        return "rle"
    first = message.segments[0].mask
    return "rle" if first.HasField("coco_rle") else "polygon" if first.HasField("polygon") else "none"


def _segment(segment: Segment, form: MaskFormat) -> pb.Segment:
    mask = None
    if form == "rle":
        mask = pb.Mask(coco_rle=write(pb.CocoRle, segment.mask))
    elif form == "polygon":
        mask = pb.Mask(polygon=write(pb.Polygon, segment.rings))
    return write(
        pb.Segment,
        segment,
        score=round(segment.score, DECIMALS),
        quality=None if segment.quality is None else round(segment.quality, DECIMALS),
        mask=mask,
    )


def _read_segment(
    size: tuple[int, int],
    area: int,
    bbox: tuple[int, int, int, int],
    label: str | None = None,
    class_index: int | None = None,
    mask: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Segment:
    shape = mask or {}
    rle = Rle(size, shape.get("coco_rle", ""), area, bbox)
    return Segment(label=label, class_index=class_index, mask=rle, rings=shape.get("polygon", ()), **fields)


# What messages of answers become.
KINDS: Kinds = {
    "BoundingBox": row,
    "CacheUse": CacheUse,
    "CocoRle": lambda counts, **_: counts,
    "Hole": lambda corners: list(corners),
    "LabelMap": RenderedMap,
    "Mask": dict,
    "Polygon": lambda rings: rings,
    "Ring": lambda exterior, holes: Ring(list(exterior), list(holes)),
    "Segment": dict,
    "Size": row,
    "Timings": Timings,
    "Warning": AnswerWarning,
}
