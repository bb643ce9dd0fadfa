"""A line of YOLO's labels: a class and a polygon, or a box without an outline, in shares of width and height.

A polygon is `CLASS x y x y ...`. Boxes are `CLASS x y width height`, perhaps with a confidence, the lines of poses
(`kpt_shape` in the listing), and all lines of a set of rotated boxes; their pixels are unknown. So are those of
predictions, polygons with a confidence after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.annotations import Annotation, Id, unknown, unknown_pixels
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import (
    Outline,
    box_outline,
    checked_box,
    checked_outline,
    surrounding_box,
    whole_number,
)
from lexiseg_train.data.annotations.content import CocoFile
from lexiseg_train.data.annotations.drawing import is_blank

BOX, POLYGON = 4, 6  # numbers of a box, and of the least polygon
OUTSIDE = 0.01  # share of a side by which a corner may lie outside, as Ultralytics allows
TOLERANCE = 1e-3  # of the sides and angles of a rotated box, relative to its sides
ROTATED = "all polygons are rotated boxes (OBB) without an outline: their pixels are ignored"
Size = tuple[int, int]


def read_line(line: str, names: Mapping[Id, str | None], size: Size, poses: bool) -> Annotation:
    """The annotation of a line on a photograph [H, W].

    Args:
        names: by number; None: any class.
        poses: the numbers after a box are key points.

    Raises:
        UnreadableLabels, ValueError: the line is not YOLO's, or its numbers are no outline.
    """
    words = line.split()
    category = whole_number(float(words[0]))
    if category not in names:
        raise UnreadableLabels(f"no class has the number {category}")
    known = None if names[category] is None else category
    numbers = _shares(words[1:])
    if len(numbers) in (BOX, BOX + 1) or (poses and len(numbers) > BOX):
        return Annotation(known, _box(numbers, size), True)
    if len(numbers) % 2 and len(numbers) > POLYGON:
        raise UnreadableLabels(f"a polygon of {len(numbers)} coordinates; the last may be its confidence")
    outline = checked_outline([_pixels(numbers, size)], size)
    if is_blank(outline, size):
        raise UnreadableLabels("a polygon without a pixel")
    return Annotation(known, outline, known is None)


def unknown_of_line(line: str, size: Size, poses: bool) -> Annotation:
    """What an unusable line makes unknown: the box around what it marks, or all if that is not known."""
    words = line.split()
    try:
        whole_number(float(words[0]))
        return unknown(_surroundings(_shares(words[1:]), size, poses))
    except (UnreadableLabels, ValueError):
        return unknown_pixels(size)


def without_rotated_boxes(splits: Mapping[str, CocoFile]) -> dict[str, CocoFile]:
    """The splits of a set; where all polygons have four corners and some are rotated rectangles, all are boxes."""
    images = [image for split in splits.values() for image in split.images]
    outlines = [each.outline for image in images for each in image.annotations if not each.ignored]
    if not all(len(_ring(each)) == 4 for each in outlines) or not any(_is_rotated(_ring(each)) for each in outlines):
        return dict(splits)
    return {name: _as_boxes(split) for name, split in splits.items()}


def _as_boxes(split: CocoFile) -> CocoFile:
    images = [
        image._replace(annotations=[each._replace(ignored=True) for each in image.annotations])
        for image in split.images
    ]
    return split._replace(images=images, warnings=(*split.warnings, ROTATED))


def _ring(outline: Outline) -> NDArray[np.float64]:
    """The corners [N, 2] of a line's only polygon."""
    assert isinstance(outline, list)
    return np.asarray(outline[0], np.float64).reshape(-1, 2)


def _is_rotated(ring: NDArray[np.float64]) -> bool:
    """Whether four corners are a rectangle, to the decimals of a file, whose sides are not upright."""
    sides = np.roll(ring, -1, 0) - ring
    lengths = np.hypot(*sides.T)
    if lengths.min() <= 1:
        return False
    parallel = np.abs(sides[0] + sides[2]).max() < TOLERANCE * lengths.max()
    square = abs(sides[0] @ sides[1]) < TOLERANCE * lengths[0] * lengths[1]
    upright = np.abs(sides).min(1).max() < TOLERANCE * lengths.max()
    return bool(parallel and square and not upright)


def _shares(words: Sequence[str]) -> list[float]:
    """Numbers that are shares of a side. Raises UnreadableLabels, ValueError: one is none."""
    numbers = [float(word) for word in words]
    for number in numbers:
        if not -OUTSIDE <= number <= 1 + OUTSIDE:  # not a number, too
            raise UnreadableLabels(f"a coordinate of {number:g}; expected a share of the side, 0 to 1")
    return numbers


def _pixels(numbers: Sequence[float], size: Size) -> list[float]:
    return [share * side for share, side in zip(numbers, size[::-1] * len(numbers), strict=False)]


def _box(numbers: Sequence[float], size: Size) -> Outline:
    """The outline of a box by its centre and sides."""
    x, y, width, height = _pixels(numbers[:BOX], size)
    return box_outline(checked_box([x - width / 2, y - height / 2, width, height]), size)


def _surroundings(numbers: Sequence[float], size: Size, poses: bool) -> Outline:
    """The box around what a line marks. Raises UnreadableLabels: it marks no area."""
    if poses or len(numbers) < POLYGON:
        return _box(numbers, size)
    corners = np.array(_pixels(numbers[: len(numbers) // 2 * 2], size)).reshape(-1, 2)
    return surrounding_box(corners, size)
