"""Outlines of objects as files of other tools state them: polygons or run lengths, checked before C code sees them.

pycocotools, which draws them, trusts its input: a coordinate that is no number ends the process, and a far one takes
all memory.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import UnreadableAnswer, UnreadableLabels
from lexiseg_labels.masks.rle import runs_of

MAX_SIDE = 1 << 16  # pixels of a photograph
MAX_PIXELS = 1 << 28
MAX_OUTLINE = 1 << 21  # pixels along a polygon; pycocotools takes about 100 bytes for each
MIN_RING = 6  # coordinates of three corners
Outline: TypeAlias = "dict[str, Any] | list[list[float]]"  # run lengths {"size", "counts"}, or rings [x, y, ...]
Size: TypeAlias = "tuple[int, int]"  # height, width


def whole_number(value: object) -> int:
    """A whole number that is stated as one, as a real number or as text. Raises ValueError: it is none."""
    if isinstance(value, float) and not value.is_integer():  # NaN and infinity, too
        raise ValueError(f"{value!r} is not a whole number")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r:.40} is not a whole number")
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{value!r:.40} is not a whole number") from None


def checked_size(height: object, width: object) -> Size:
    """(H, W) of a photograph as a file states it. Raises UnreadableLabels: it is no size that a photograph has."""
    try:
        size = whole_number(height), whole_number(width)
    except ValueError as error:
        raise UnreadableLabels(f"a side that {error}") from None
    if min(size) < 1 or max(size) > MAX_SIDE or size[0] * size[1] > MAX_PIXELS:
        expected = f"1 to {MAX_SIDE:,} a side, at most {MAX_PIXELS:,} pixels"
        raise UnreadableLabels(f"a photograph of {size[1]} x {size[0]}; expected {expected}")
    return size


def checked_box(box: object) -> tuple[float, float, float, float]:
    """(x, y, width, height) of a box. Raises UnreadableLabels: not four numbers, or without an area."""
    try:
        left, top, width, height = values = np.asarray(box, np.float64).tolist()
    except (ValueError, TypeError, OverflowError):
        raise UnreadableLabels(f"a box of {box!r:.60}; expected x, y, width and height") from None
    if not np.isfinite(values).all() or width <= 0 or height <= 0:
        raise UnreadableLabels(f"a box of {values}; expected numbers, with a width and a height above 0")
    return left, top, width, height


def checked_outline(segmentation: object, size: Size) -> Outline:
    """A `segmentation` that is safe to draw on a photograph [H, W], with its numbers as numbers.

    It is {"size", "counts"} with counts as text or as numbers, a list of polygons [x, y, ...], or one polygon.
    """
    try:
        if isinstance(segmentation, dict):
            return _checked_runs(segmentation, size)
        if isinstance(segmentation, list) and segmentation:
            flat = not any(isinstance(ring, list | tuple | dict) for ring in segmentation)
            rings = [segmentation] if flat else segmentation
            # A ring of one or two corners has no area; with others it is a speck of a tool.
            usable = [ring for ring in rings if len(ring) >= MIN_RING or len(ring) % 2] or rings
            checked = [_checked_ring(ring, size) for ring in usable]
            if _are_shares(np.concatenate(checked), size):
                raise UnreadableLabels("polygons between 0 and 1, as shares of the photograph; expected pixels")
            return [corners.reshape(-1).tolist() for corners in checked]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UnreadableLabels(f"a mask that cannot be read: {reason}") from None
    raise UnreadableLabels(f"a mask that is neither run lengths nor polygons: {segmentation!r:.60}")


def _are_shares(numbers: NDArray[np.float64], size: Size) -> bool:
    """Whether coordinates are shares of a photograph's sides; the first pixel has whole ones between 0 and 1, too."""
    return bool(min(size) > 1 and numbers.max() <= 1 and (numbers % 1).any())


def _checked_runs(runs: dict[str, Any], size: Size) -> dict[str, Any]:
    height, width = size
    stated_height, stated_width = (whole_number(side) for side in runs["size"])
    if (stated_height, stated_width) != size:
        raise UnreadableLabels(f"a mask of {stated_width} x {stated_height}, its photograph {width} x {height}")
    counts = runs["counts"]
    if isinstance(counts, str):
        try:
            runs_of(counts, size)
        except UnreadableAnswer as error:
            raise ValueError(f"an RLE that cannot be read: {error}") from None
        return {"size": [height, width], "counts": counts}
    lengths = [whole_number(count) for count in counts]
    if min(lengths, default=0) < 0:
        raise UnreadableLabels(f"a run of {min(lengths)} pixels")
    if sum(lengths) != height * width:
        raise UnreadableLabels(f"runs that sum to {sum(lengths)}, not {height * width}")
    return {"size": [height, width], "counts": lengths}


def _checked_ring(ring: Any, size: Size) -> NDArray[np.float64]:
    """The corners [N, 2] of one polygon in x, y."""
    if len(ring) < MIN_RING or len(ring) % 2:
        raise UnreadableLabels(f"a polygon of {len(ring)} coordinates; expected x, y of at least three corners")
    corners = np.asarray(ring, np.float64).reshape(-1, 2)
    sides = size[::-1]  # x, y
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    # Not a number compares as false.
    if not (left >= -sides[0] and top >= -sides[1] and right <= 2 * sides[0] and bottom <= 2 * sides[1]):
        raise _misplaced(corners, sides)
    if len(corners) * 3 * max(sides) > MAX_OUTLINE:  # as long as it can be
        length = np.abs(corners - np.roll(corners, 1, 0)).max(1).sum()
        if length > MAX_OUTLINE:
            raise UnreadableLabels(f"a polygon of {length:,.0f} pixels in length; expected at most {MAX_OUTLINE:,}")
    return corners


def _misplaced(corners: NDArray[np.float64], sides: Size) -> UnreadableLabels:
    """What is wrong with the first impossible corner of [N, 2]; `sides` is (width, height) of the photograph."""
    if not np.isfinite(corners).all():
        return UnreadableLabels(f"a polygon with {corners[~np.isfinite(corners)][0]} among its coordinates")
    place = np.array(sides)
    x, y = corners[((corners < -place) | (corners > 2 * place)).any(1)][0].tolist()
    return UnreadableLabels(
        f"a polygon with a corner at {x:g}, {y:g}, far outside its photograph of {sides[0]} x {sides[1]}"
    )


def box_outline(box: tuple[float, float, float, float], size: Size) -> Outline:
    """The polygon around all pixels of a photograph [H, W] that a box (x, y, width, height) touches."""
    left, top, box_width, box_height = box
    if _are_shares(np.array([left, top, left + box_width, top + box_height]), size):
        raise UnreadableLabels(f"a box of {list(box)}, as shares of the photograph; expected pixels")
    x0, x1 = (float(np.clip(side, 0, size[1])) for side in (np.floor(left), np.ceil(left + box_width)))
    y0, y1 = (float(np.clip(side, 0, size[0])) for side in (np.floor(top), np.ceil(top + box_height)))
    if x0 >= x1 or y0 >= y1:
        raise UnreadableLabels(f"a box of {list(box)} outside its photograph of {size[1]} x {size[0]}")
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def surrounding_box(points: NDArray[np.float64], size: Size) -> Outline:
    """`box_outline` around points [N, 2] in x, y, with a pixel to each side: of lines and points, too."""
    if not np.isfinite(points).all():
        raise UnreadableLabels("points without a place")
    (left, top), (right, bottom) = (points.min(0) - 1).tolist(), (points.max(0) + 1).tolist()
    return box_outline((left, top, right - left, bottom - top), size)
