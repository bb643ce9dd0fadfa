"""Convert masks to polygons with holes along pixel edges, which round-trip to the same mask.

A vertex is the corner between four pixels: x in 0..W, y in 0..H.
"""

from __future__ import annotations

import cv2
import numpy as np

from lexiseg_labels.masks import polygons
from lexiseg_labels.masks.polygons import Contour, area
from lexiseg_model.kernel import library
from lexiseg_model.kernel.library import outlines
from lexiseg_model.masks.rle import decode, decode_spans
from lexiseg_model.types import Ring, Rle


def rings_of(rle: Rle, simplify: float = 0.0) -> list[Ring]:
    """One ring per part of a mask, largest first. Each contour starts at its uppermost, then leftmost corner.

    Args:
        simplify: tolerance in pixels (Douglas-Peucker); 0 keeps every corner and thus the exact mask. Parts that would
            vanish keep their corners; holes that would vanish are dropped.

    Raises:
        ShapeError: the counts do not match the mask's size.
    """
    if library.ready():
        parts = outlines(decode_spans(rle), rle.size)
    else:
        x, y, width, height = rle.bbox
        inside = decode(rle)[y : y + height, x : x + width]
        traced = ((ring.exterior, *ring.holes) for ring in polygons.rings_of(inside))
        parts = [[contour + np.array((x, y)) for contour in part] for part in traced]
    if simplify:
        parts = [_simplified(part, simplify) for part in parts]
    return [Ring(part[0].reshape(-1).tolist(), [hole.reshape(-1).tolist() for hole in part[1:]]) for part in parts]


def _simplified(part: list[Contour], tolerance: float) -> list[Contour]:
    """Simplify an exterior and its holes by Douglas-Peucker."""
    exterior, *holes = (
        cv2.approxPolyDP(contour.astype(np.int32)[:, None], tolerance, closed=True)[:, 0].astype(np.int64)
        for contour in part
    )
    return [exterior if area(exterior) > 0 else part[0], *(hole for hole in holes if area(hole) < 0)]
