"""Messages of lexiseg.v1 as the objects that REST's JSON becomes, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.json_format import MessageToDict

from lexiseg_client.answers import checked
from lexiseg_client.answers.masks import MapFile, NotAsked, Outlines, PartOfMap, RunLengths, Shape
from lexiseg_client.answers.models import Model
from lexiseg_client.answers.polygons import Ring
from lexiseg_client.answers.segmentation import AnswerWarning, CacheUse, Segment, Segmentation, Timings
from lexiseg_client.calling.retries import read_problem
from lexiseg_client.errors import Problem, ProblemError, UnreadableAnswer, error_of
from lexiseg_client.rpc.asking import ENUMS
from lexiseg_client.stubs import segmentation_pb2 as pb

TASKS: Mapping[int, str] = {number: word for word, number in ENUMS["task"].items()}
REFINEMENTS: Mapping[int, str] = {number: word for word, number in ENUMS["refine"].items()}


def segmentation(message: pb.SegmentResponse) -> Segmentation:
    """An answer.

    Raises:
        UnreadableAnswer: it cannot be one.
    """
    try:
        return _segmentation(message, checked.size((message.size.height, message.size.width)))
    except ValueError as error:
        raise UnreadableAnswer(f"what answered is no lexiseg, or another version: {error}") from None


def _segmentation(message: pb.SegmentResponse, size: tuple[int, int]) -> Segmentation:
    mapped = MapFile(size, message.label_map.png) if message.HasField("label_map") else None
    times = message.timings_ms
    return Segmentation(
        id=message.id,
        image_id=message.image_id,
        model=message.model,
        model_digest=message.model_digest,
        task=TASKS.get(message.task, "unknown"),
        size=size,
        segments=tuple(_segment(entry, size, mapped) for entry in message.segments),
        timings_ms=Timings(times.decode, times.queue, times.text, times.image, times.post, times.total),
        cache=CacheUse(message.cache.text_hits, message.cache.text_misses, message.cache.features),
        overlay=message.overlay if message.HasField("overlay") else None,
        map_file=mapped,
        confidence_png=message.confidence if message.HasField("confidence") else None,
        absent=tuple(message.absent),
        warnings=tuple(
            AnswerWarning(entry.type, entry.detail, entry.field if entry.HasField("field") else None)
            for entry in message.warnings
        ),
    )


def _segment(segment: pb.Segment, size: tuple[int, int], mapped: MapFile | None) -> Segment:
    return Segment(
        id=checked.segment_id(segment.id),
        label=segment.label if segment.HasField("label") else None,
        class_index=segment.class_index if segment.HasField("class_index") else None,
        score=segment.score,
        area=segment.area,
        bbox=(segment.bbox.x, segment.bbox.y, segment.bbox.width, segment.bbox.height),
        shape=_shape(segment, size, mapped),
        prompt_index=segment.prompt_index if segment.HasField("prompt_index") else None,
        mask_index=segment.mask_index if segment.HasField("mask_index") else None,
        quality=segment.quality if segment.HasField("quality") else None,
        is_thing=segment.is_thing if segment.HasField("is_thing") else None,
        track_id=segment.track_id if segment.HasField("track_id") else None,
    )


def _shape(segment: pb.Segment, size: tuple[int, int], mapped: MapFile | None) -> Shape:
    if segment.mask.HasField("coco_rle"):
        rle = segment.mask.coco_rle
        if (rle.size.height, rle.size.width) != size:
            raise ValueError(f"a mask of {rle.size.height} x {rle.size.width} for an image of {size[0]} x {size[1]}")
        return RunLengths(size, rle.counts)
    if segment.mask.HasField("polygon"):
        return Outlines(
            size,
            tuple(
                Ring(_corners(ring.exterior), tuple(_corners(hole.corners) for hole in ring.holes))
                for ring in segment.mask.polygon.rings
            ),
        )
    return NotAsked() if mapped is None else PartOfMap(mapped, segment.id)


def _corners(flat: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    corners = np.array(flat, np.int64)
    if len(corners) % 2:
        raise ValueError(f"a ring has {len(corners)} numbers, which are no pairs")
    return corners.reshape(-1, 2)


def models(message: pb.ListModelsResponse) -> list[Model]:
    """Every model."""
    return [_model(entry) for entry in message.models]


def _model(message: pb.Model) -> Model:
    card = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    tasks = tuple(TASKS.get(task, "unknown") for task in message.tasks)
    # What was not measured or ruled is null over REST.
    for measured in card.get("quality", {}).values():
        measured.setdefault("int8_loss", None)
    if "panoptic" in card:
        card["panoptic"].setdefault("things", None)
    # Words as REST writes them, not the names of numbers.
    card |= {"tasks": list(tasks), "refine": REFINEMENTS.get(message.refine, "none"), "seed": message.seed}
    card |= {"refinements": [REFINEMENTS.get(number, "unknown") for number in message.refinements]}
    return Model(
        name=message.name,
        version=message.version,
        summary=message.summary,
        tasks=tasks,
        licence=message.licence,
        digest=message.digest if message.HasField("digest") else None,
        loaded=message.loaded,
        card=card,
    )


def problem_error(message: pb.Problem) -> ProblemError:
    """The error that a problem message stands for."""
    document = MessageToDict(message, preserving_proto_field_name=True)
    problem: Problem = read_problem(document, message.status)
    return error_of(problem, float(message.retry_after_seconds) if message.HasField("retry_after_seconds") else None)
