"""Segments as shapes of X-AnyLabeling: closed polygons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lexiseg_model.types import Ring, Segment
from lexiseg_service.adapters.answering import outline

LEAST_PART = 0.02  # of a segment's largest part: less is a shape that somebody has to delete


def shapes_of(segment: Segment, rings: Sequence[Ring]) -> list[dict[str, Any]]:
    """One polygon a part; the parts of one segment are a group."""
    parts = large_parts(rings)
    return [
        {
            "label": segment.label or "AUTOLABEL_OBJECT",
            "shape_type": "polygon",
            "points": corners,
            "score": segment.score,
            "group_id": segment.id if len(parts) > 1 else None,
        }
        for corners in parts
    ]


def large_parts(rings: Sequence[Ring]) -> list[list[list[int]]]:
    """The closed outlines of the parts of a segment that are worth a shape of their own."""
    parts = [(corners := outline(ring)) + corners[:1] for ring in rings]
    areas = [abs(sum(x * v - u * y for (x, y), (u, v) in pairwise(part))) for part in parts]  # twice the area
    return [part for part, area in zip(parts, areas, strict=True) if area >= LEAST_PART * max(areas)]
