"""An answer as the client's, whose exports to other formats the command line shares."""

from __future__ import annotations

from lexiseg_client import CacheUse, Segmentation, Timings
from lexiseg_client import Segment as ClientSegment
from lexiseg_client.segments import RunLengths
from lexiseg_model.types import Segment
from lexiseg_service.commands.segment.annotations import Answer


def as_clients(answer: Answer, model: str) -> Segmentation:
    """The segments with their run lengths; without what an export does not read."""
    return Segmentation(
        id=model,
        image_id="",
        model=model,
        model_digest="",
        task="",
        size=answer.size,
        segments=tuple(map(_segment, answer.segments)),
        timings_ms=Timings(),
        cache=CacheUse(),
        overlay=answer.overlay,
    )


def _segment(segment: Segment) -> ClientSegment:
    return ClientSegment(
        id=segment.id,
        label=segment.label,
        class_index=segment.class_index,
        score=segment.score,
        area=segment.area,
        bbox=segment.bbox,
        shape=RunLengths(segment.mask.size, segment.mask.counts),
        prompt_index=segment.prompt_index,
        mask_index=segment.mask_index,
        quality=segment.quality,
        is_thing=segment.is_thing,
    )
