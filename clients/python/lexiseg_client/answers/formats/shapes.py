"""What the formats share: the segments that go out, and their borders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lexiseg_client.answers.masks import NotAsked, Outlines
from lexiseg_client.answers.outlines import rings_of, simplified
from lexiseg_client.answers.painting import drawn
from lexiseg_client.answers.polygons import Ring
from lexiseg_client.errors import NoMasks

if TYPE_CHECKING:
    from lexiseg_client.answers.segmentation import Segment, Segmentation

UNNAMED = "object"  # a label for what a prompt showed without classes


def exported(answer: Segmentation) -> list[Segment]:
    """The segments with pixels; of the masks that one prompt may mean, the best.

    Raises:
        NoMasks: asked with mask="none".
    """
    if any(isinstance(segment.shape, NotAsked) for segment in answer.segments):
        raise NoMasks('the question said mask="none": its answer has scores, areas and boxes, but no masks')
    return [segment for segment in drawn(answer) if segment.area]


def borders(segment: Segment, tolerance: float) -> tuple[Ring, ...]:
    """Its rings, in pixels of the whole image.

    Args:
        tolerance: how far in pixels a border may stray; 0 keeps every corner.
    """
    if isinstance(segment.shape, Outlines):
        return simplified(segment.shape.rings, tolerance)
    x, y, width, height = segment.bbox
    corner = np.array((x, y))
    rings = rings_of(segment.shape.pixels()[y : y + height, x : x + width])
    return tuple(
        Ring(ring.exterior + corner, tuple(hole + corner for hole in ring.holes))
        for ring in simplified(rings, tolerance)
    )
