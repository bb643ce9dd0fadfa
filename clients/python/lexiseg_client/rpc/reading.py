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


def segmentation(found: pb.SegmentResponse) -> Segmentation:
    """An answer.

    Raises:
        UnreadableAnswer: it cannot be one.
    """
    try:
        return _segmentation(found, checked.size((found.size.height, found.size.width)))
    except ValueError as error:
        raise UnreadableAnswer(f"what answered is no lexiseg, or another version: {error}") from None


def _segmentation(found: pb.SegmentResponse, size: tuple[int, int]) -> Segmentation:
    mapped = MapFile(size, found.label_map.png) if found.HasField("label_map") else None
    times = found.timings_ms
    return Segmentation(
        id=found.id,
        image_id=found.image_id,
        model=found.model,
        model_digest=found.model_digest,
        task=TASKS.get(found.task, "unknown"),
        size=size,
        segments=tuple(_segment(entry, size, mapped) for entry in found.segments),
        timings_ms=Timings(times.decode, times.queue, times.text, times.image, times.post, times.total),
        cache=CacheUse(found.cache.text_hits, found.cache.text_misses, found.cache.features),
        overlay=found.overlay if found.HasField("overlay") else None,
        map_file=mapped,
        confidence_png=found.confidence if found.HasField("confidence") else None,
        absent=tuple(found.absent),
        warnings=tuple(
            AnswerWarning(entry.type, entry.detail, entry.field if entry.HasField("field") else None)
            for entry in found.warnings
        ),
    )


def _segment(found: pb.Segment, size: tuple[int, int], mapped: MapFile | None) -> Segment:
    return Segment(
        id=checked.segment_id(found.id),
        label=found.label if found.HasField("label") else None,
        class_index=found.class_index if found.HasField("class_index") else None,
        score=found.score,
        area=found.area,
        bbox=(found.bbox.x, found.bbox.y, found.bbox.width, found.bbox.height),
        shape=_shape(found, size, mapped),
        prompt_index=found.prompt_index if found.HasField("prompt_index") else None,
        mask_index=found.mask_index if found.HasField("mask_index") else None,
        quality=found.quality if found.HasField("quality") else None,
        is_thing=found.is_thing if found.HasField("is_thing") else None,
        track_id=found.track_id if found.HasField("track_id") else None,
    )


def _shape(found: pb.Segment, size: tuple[int, int], mapped: MapFile | None) -> Shape:
    if found.mask.HasField("coco_rle"):
        rle = found.mask.coco_rle
        if (rle.size.height, rle.size.width) != size:
            raise ValueError(f"a mask of {rle.size.height} x {rle.size.width} for an image of {size[0]} x {size[1]}")
        return RunLengths(size, rle.counts)
    if found.mask.HasField("polygon"):
        return Outlines(
            size,
            tuple(
                Ring(_corners(ring.exterior), tuple(_corners(hole.corners) for hole in ring.holes))
                for ring in found.mask.polygon.rings
            ),
        )
    return NotAsked() if mapped is None else PartOfMap(mapped, found.id)


def _corners(flat: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    corners = np.array(flat, np.int64)
    if len(corners) % 2:
        raise ValueError(f"a ring has {len(corners)} numbers, which are no pairs")
    return corners.reshape(-1, 2)


def models(found: pb.ListModelsResponse) -> list[Model]:
    """Every model."""
    return [_model(entry) for entry in found.models]


def _model(found: pb.Model) -> Model:
    card = MessageToDict(found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    tasks = tuple(TASKS.get(task, "unknown") for task in found.tasks)
    # Words as REST writes them, not the names of numbers.
    card |= {"tasks": list(tasks), "refine": REFINEMENTS.get(found.refine, "none"), "seed": found.seed}
    return Model(
        name=found.name,
        version=found.version,
        summary=found.summary,
        tasks=tasks,
        licence=found.licence,
        digest=found.digest if found.HasField("digest") else None,
        loaded=found.loaded,
        card=card,
    )


def problem_error(found: pb.Problem) -> ProblemError:
    """The error that a problem message stands for."""
    document = MessageToDict(found, preserving_proto_field_name=True)
    problem: Problem = read_problem(document, found.status)
    return error_of(problem, float(found.retry_after_seconds) if found.HasField("retry_after_seconds") else None)
