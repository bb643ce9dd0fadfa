"""Labelme's shapes: polygons, circles and masks are outlines, rectangles boxes; lines and points show no area."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_labels.annotations import Annotation, unknown, unknown_pixels
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import Outline, box_outline, checked_box, checked_outline, surrounding_box
from lexiseg_model.masks.rle import decode, encode_mask
from lexiseg_train.data.annotations.content import class_name
from lexiseg_train.data.annotations.drawing import draw, is_blank

CORNERS = 64  # of the polygon of a circle
ROTATED_BOXES = ("rotation", "oriented_rectangle")  # of X-AnyLabeling and of Labelme
SLACK = 1  # pixels by which the corners of a mask may miss its size, as Labelme's versions do
MASK_FILE = "PNG"
FAULTS = (UnreadableLabels, LookupError, OSError, OverflowError, SyntaxError, TypeError, ValueError)
Size = tuple[int, int]
Group = tuple[object, object]  # label and group_id


class Shapes(NamedTuple):
    """The annotations of shapes; number of each unusable shape, from 1, and why; number of boxes without an outline."""

    annotations: list[Annotation]
    faults: list[tuple[int, str]]
    n_boxes: int


def read_shapes(shapes: Sequence[Any], size: Size) -> Shapes:
    """Annotations on a photograph [H, W]. Shapes of one label and one `group_id` are parts of an object.

    An unusable shape makes unknown what its points surround, and, unless it is a mask, all that no other explains.
    """
    annotations: list[Annotation] = []
    parts: dict[Group, list[Annotation]] = {}
    faults: list[tuple[int, str]] = []
    n_boxes = 0
    for number, shape in enumerate(shapes, 1):
        try:
            annotation = _annotation(shape, size)
        except FAULTS as error:
            faults.append((number, f"no {error}" if isinstance(error, KeyError) else str(error)))
            annotations += _unknown(shape, size)
            continue
        n_boxes += annotation.ignored and annotation.category is not None
        group = shape.get("group_id")
        if annotation.ignored or not isinstance(group, int | str):
            annotations.append(annotation)
        else:
            parts.setdefault((annotation.category, group), []).append(annotation)
    return Shapes([*annotations, *(_joined(each, size) for each in parts.values())], faults, n_boxes)


def _annotation(shape: dict[str, Any], size: Size) -> Annotation:
    """Raises one of FAULTS: not Labelme's shape, or without an area."""
    category = class_name(shape["label"])
    if category == "":
        raise UnreadableLabels("an empty label")
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if kind == "rectangle":
        (x0, y0), (x1, y1) = (points[0], points[len(points) // 2])  # two corners, or four of X-AnyLabeling
        box = checked_box([min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)])
        return Annotation(category, box_outline(box, size), True)
    outline = _outline(shape, kind, size)
    if is_blank(outline, size):
        raise UnreadableLabels(f"a {kind} without a pixel")
    return Annotation(category, outline, category is None or kind in ROTATED_BOXES)


def _outline(shape: dict[str, Any], kind: str, size: Size) -> Outline:
    """Raises one of FAULTS as `_annotation`."""
    if kind == "mask":
        return _mask(shape, size)
    if kind == "circle":
        return checked_outline([_circle(shape["points"])], size)
    if kind == "polygon" or kind in ROTATED_BOXES:
        return checked_outline([[number for point in shape["points"] for number in point]], size)
    raise UnreadableLabels(f"a {kind!r:.40}; expected a polygon, a circle, a mask or a rectangle")


def _circle(points: Sequence[Sequence[float]]) -> list[float]:
    """The polygon of a circle by its centre and a point on it."""
    (x, y), (at_x, at_y) = points
    radius = math.hypot(at_x - x, at_y - y)
    angles = (2 * math.pi * step / CORNERS for step in range(CORNERS))
    return [number for angle in angles for number in (x + radius * math.cos(angle), y + radius * math.sin(angle))]


def _mask(shape: dict[str, Any], size: Size) -> Outline:
    """Run lengths of a PNG that lies between two corners; both pixels belong to it."""
    (left, top), (right, bottom) = (tuple(math.floor(side + 0.5) for side in corner) for corner in shape["points"])
    with Image.open(io.BytesIO(base64.b64decode(shape["mask"], validate=True)), formats=[MASK_FILE]) as picture:
        width, height = picture.size
        if max(abs(right - left + 1 - width), abs(bottom - top + 1 - height)) > SLACK:
            raise UnreadableLabels(f"a mask of {width} x {height} between {left}, {top} and {right}, {bottom}")
        if left < 0 or top < 0 or left + width > size[1] + SLACK or top + height > size[0] + SLACK:
            raise UnreadableLabels(
                f"a mask of {width} x {height} at {left}, {top}; its photograph is {size[1]} x {size[0]}"
            )
        pixels = np.asarray(picture.convert("L")) > 0 if picture.mode != "I;16" else np.asarray(picture) > 0
    whole = np.zeros(size, np.bool_)
    inside = whole[top : top + height, left : left + width]
    inside[:] = pixels[: inside.shape[0], : inside.shape[1]]
    return _runs(whole)


def _joined(parts: Sequence[Annotation], size: Size) -> Annotation:
    """One annotation of the parts of an object."""
    if len(parts) == 1:
        return parts[0]
    whole: NDArray[np.bool_] = np.logical_or.reduce([decode(draw(part.outline, size)) for part in parts])
    return parts[0]._replace(outline=_runs(whole))


def _runs(mask: NDArray[np.bool_]) -> Outline:
    return {"size": list(mask.shape), "counts": encode_mask(mask).counts}


def _unknown(shape: Any, size: Size) -> list[Annotation]:
    """What an unusable shape makes unknown: its outline if only the label is unusable, else what `read_shapes` says."""
    try:
        outline = _outline(shape, shape.get("shape_type") or "polygon", size)
        if not is_blank(outline, size):
            return [unknown(outline)]
    except (*FAULTS, AttributeError):
        pass
    try:
        near = unknown(surrounding_box(np.asarray(shape["points"], np.float64).reshape(-1, 2), size))
    except FAULTS:
        return [unknown_pixels(size)]
    return [near] if shape.get("shape_type") == "mask" else [near, unknown_pixels(size)]
