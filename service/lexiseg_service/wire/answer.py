"""Answers as messages: the same ones go from worker to gateway and from gateway to client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.types import AnswerWarning, Ring, Rle, Segment
from lexiseg_service.question.messages import CacheUse, FrameAnswer, MaskFormat, RenderedMap, Timings, WorkerAnswer
from lexiseg_service.wire.errors import error_of, problem_of
from lexiseg_service.wire.request import TASKS, encode_size, optional, word_of

DECIMALS = 4  # of score and quality, as in the JSON of the REST routes
MILLISECOND_DECIMALS = 2


def encode_answer(
    answer: WorkerAnswer, request_id: str = "", track_ids: Sequence[int | None] = ()
) -> pb.SegmentResponse:
    """The message of an answer; `track_ids`: one for each segment, or none."""
    label_map = answer.label_map
    message = pb.SegmentResponse(
        id=request_id,
        image_id=answer.image_id,
        model=answer.model,
        model_digest=answer.model_digest,
        task=TASKS[answer.task],
        size=encode_size(answer.size),
        label_map=None if label_map is None else pb.LabelMap(png=label_map.png, bits=label_map.bits),
        overlay=answer.overlay,
        confidence=answer.confidence,
        timings_ms=pb.Timings(
            **{stage: round(value, MILLISECOND_DECIMALS) for stage, value in asdict(answer.timings).items()}
        ),
        cache=pb.CacheUse(**asdict(answer.cache)),
        absent=answer.absent,
        warnings=[pb.Warning(**asdict(warning)) for warning in answer.warnings],
    )
    for position, segment in enumerate(answer.segments):
        rings = answer.polygons[position] if answer.mask == "polygon" and answer.polygons is not None else None
        message.segments.append(_segment(segment, answer.mask, rings, track_ids[position] if track_ids else None))
    return message


def decode_answer(message: pb.SegmentResponse) -> WorkerAnswer:
    """The answer of a message; without run lengths in other mask formats than rle."""
    size = (message.size.height, message.size.width)
    task = word_of(TASKS, message.task)
    assert task is not None, f"unknown task number {message.task}"
    mask = _mask_of(message)
    polygons = tuple(_rings(segment) for segment in message.segments) if mask == "polygon" else None
    label_map = None
    if message.HasField("label_map"):
        label_map = RenderedMap(message.label_map.png, 8 if message.label_map.bits == 8 else 16)
    timings = message.timings_ms
    return WorkerAnswer(
        image_id=message.image_id,
        model=message.model,
        model_digest=message.model_digest,
        task=task,
        size=size,
        segments=tuple(_read_segment(segment, size) for segment in message.segments),
        timings=Timings(timings.decode, timings.queue, timings.text, timings.image, timings.post, timings.total),
        cache=CacheUse(message.cache.text_hits, message.cache.text_misses, message.cache.features),
        mask=mask,
        polygons=polygons,
        label_map=label_map,
        overlay=optional(message, "overlay"),
        confidence=optional(message, "confidence"),
        absent=tuple(message.absent),
        warnings=tuple(AnswerWarning(each.type, each.detail, optional(each, "field")) for each in message.warnings),
    )


def encode_frame_answer(answer: FrameAnswer, request_id: str = "") -> pb.SegmentVideoResponse:
    """The message of a frame's answer."""
    return pb.SegmentVideoResponse(
        frame_id=answer.frame_id,
        timestamp_us=answer.timestamp_us,
        answer=None if answer.answer is None else encode_answer(answer.answer, request_id, answer.track_ids),
        dropped=answer.dropped,
        error=None if answer.error is None else problem_of(answer.error, request_id),
        state_reset=answer.state_reset,
        lost=answer.lost,
    )


def decode_frame_answer(message: pb.SegmentVideoResponse) -> FrameAnswer:
    """The frame's answer of a message."""
    answered = message.HasField("answer")
    return FrameAnswer(
        frame_id=message.frame_id,
        timestamp_us=message.timestamp_us,
        answer=decode_answer(message.answer) if answered else None,
        dropped=message.dropped,
        error=error_of(message.error) if message.HasField("error") else None,
        state_reset=message.state_reset,
        track_ids=_track_ids(message.answer) if answered else (),
        lost=tuple(message.lost),
    )


def _mask_of(message: pb.SegmentResponse) -> MaskFormat:
    """The format of an answer's masks; any for an answer without segments."""
    if message.HasField("label_map"):
        return "png"
    if not message.segments:
        return "rle"
    first = message.segments[0].mask
    return "rle" if first.HasField("coco_rle") else "polygon" if first.HasField("polygon") else "none"


def _track_ids(message: pb.SegmentResponse) -> tuple[int | None, ...]:
    """Track ids, one for each segment; empty if no segment has one."""
    track_ids = tuple(optional(segment, "track_id") for segment in message.segments)
    return track_ids if any(identity is not None for identity in track_ids) else ()


def _segment(segment: Segment, mask: MaskFormat, rings: list[Ring] | None, track_id: int | None) -> pb.Segment:
    x, y, width, height = segment.bbox
    message = pb.Segment(
        id=segment.id,
        label=segment.label,
        class_index=segment.class_index,
        score=round(segment.score, DECIMALS),
        area=segment.area,
        bbox=pb.BoundingBox(x=x, y=y, width=width, height=height),
        prompt_index=segment.prompt_index,
        mask_index=segment.mask_index,
        quality=None if segment.quality is None else round(segment.quality, DECIMALS),
        is_thing=segment.is_thing,
        track_id=track_id,
    )
    if mask == "rle":
        message.mask.coco_rle.counts = segment.mask.counts
        message.mask.coco_rle.size.CopyFrom(encode_size(segment.mask.size))
    elif rings is not None:
        message.mask.polygon.rings.extend(
            pb.Ring(exterior=ring.exterior, holes=[pb.Hole(corners=hole) for hole in ring.holes]) for ring in rings
        )
        message.mask.polygon.SetInParent()
    return message


def _read_segment(message: pb.Segment, size: tuple[int, int]) -> Segment:
    box = message.bbox
    return Segment(
        id=message.id,
        label=optional(message, "label"),
        class_index=optional(message, "class_index"),
        score=message.score,
        mask=Rle(size, message.mask.coco_rle.counts, message.area, (box.x, box.y, box.width, box.height)),
        is_thing=optional(message, "is_thing"),
        prompt_index=optional(message, "prompt_index"),
        mask_index=optional(message, "mask_index"),
        quality=optional(message, "quality"),
    )


def _rings(message: pb.Segment) -> list[Ring]:
    return [
        Ring(list(ring.exterior), [list(hole.corners) for hole in ring.holes]) for ring in message.mask.polygon.rings
    ]
