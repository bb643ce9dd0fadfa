"""Labelme's JSON as tools write it, X-AnyLabeling and others too; shapes of other tools are read as these.

Polygons, circles and masks are outlines, rectangles boxes; lines and points show no area. A mask of another tool is a
`segmentation` as COCO has it in place of a PNG.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.annotations import Annotation, ClassName, unknown, unknown_pixels
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks import rle
from lexiseg_labels.masks.outlines import Outline, Size, box_outline, checked_box, checked_outline, surrounding_box

CORNERS = 64  # of the polygon of a circle
ROTATED_BOXES = ("rotation", "oriented_rectangle")  # of X-AnyLabeling and of Labelme
SLACK = 1  # pixels by which the corners of a mask may miss its size, as Labelme's versions do
# The pictures of masks raise the others.
FAULTS = (UnreadableLabels, LookupError, OSError, OverflowError, SyntaxError, TypeError, ValueError)
Group: TypeAlias = "tuple[object, object]"  # label and group_id


class Drawing(Protocol):
    """What draws for the reader."""

    def is_blank(self, outline: Outline, size: Size) -> bool:
        """Whether a checked outline covers no pixel of a picture [H, W]."""

    def joined(self, outlines: Sequence[Outline], size: Size) -> Outline:
        """What any of some checked outlines covers."""

    def png_mask(self, content: bytes, check: Callable[[int, int], None]) -> NDArray[np.bool_]:
        """Pixels [h, w] of a PNG that are not 0; `check` gets its width and height before it is decoded, and raises.

        Raises:
            OSError, SyntaxError, ValueError: no PNG.
        """


class Document(NamedTuple):
    """What a file states; all may be of any type but `shapes`."""

    shapes: list[Any]
    image_path: object
    height: object
    width: object


class Shapes(NamedTuple):
    """The annotations of shapes; number of each unusable shape, from 1, and why; number of boxes without an outline."""

    annotations: list[Annotation]
    faults: list[tuple[int, str]]
    n_boxes: int


def document(content: object) -> Document:
    """The content of a file. Raises UnreadableLabels: it is not Labelme's."""
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise UnreadableLabels("no JSON of Labelme: it has no list of shapes")
    return Document(content["shapes"], *(content.get(name) for name in ("imagePath", "imageHeight", "imageWidth")))


def read_shapes(shapes: Sequence[Any], size: Size, class_name: ClassName, drawing: Drawing) -> Shapes:
    """Annotations on a photograph [H, W]. Shapes of one label and one `group_id` are parts of an object.

    An unusable shape makes unknown what its points surround, and, unless it is a mask, all that no other explains.
    """
    annotations: list[Annotation] = []
    parts: dict[Group, list[Annotation]] = {}
    faults: list[tuple[int, str]] = []
    n_boxes = 0
    for number, shape in enumerate(shapes, 1):
        try:
            annotation = _annotation(shape, size, class_name, drawing)
        except FAULTS as error:
            faults.append((number, f"no {error}" if isinstance(error, KeyError) else str(error)))
            annotations += _unknown(shape, size, drawing)
            continue
        n_boxes += annotation.ignored and annotation.category is not None
        group = shape.get("group_id")
        if annotation.ignored or not isinstance(group, int | str):
            annotations.append(annotation)
        else:
            parts.setdefault((annotation.category, group), []).append(annotation)
    return Shapes([*annotations, *(_joined(each, size, drawing) for each in parts.values())], faults, n_boxes)


def _annotation(shape: dict[str, Any], size: Size, class_name: ClassName, drawing: Drawing) -> Annotation:
    """Raises one of FAULTS: not Labelme's shape, or without an area."""
    category = class_name(shape["label"])
    if category == "":
        raise UnreadableLabels("an empty label")
    kind = shape.get("shape_type") or "polygon"
    if kind == "rectangle":
        points = shape["points"]
        (x0, y0), (x1, y1) = (points[0], points[len(points) // 2])  # two corners, or four of X-AnyLabeling
        box = checked_box([min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)])
        return Annotation(category, box_outline(box, size), True)
    outline = _outline(shape, kind, size, drawing)
    if drawing.is_blank(outline, size):
        raise UnreadableLabels(f"a {kind} without a pixel")
    return Annotation(category, outline, category is None or kind in ROTATED_BOXES)


def _outline(shape: dict[str, Any], kind: str, size: Size, drawing: Drawing) -> Outline:
    """Raises one of FAULTS as `_annotation`."""
    if kind == "mask":
        return checked_outline(shape["segmentation"], size) if "segmentation" in shape else _mask(shape, size, drawing)
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


def _mask(shape: dict[str, Any], size: Size, drawing: Drawing) -> Outline:
    """Run lengths of a PNG that lies between two corners; both pixels belong to it."""
    (left, top), (right, bottom) = (tuple(math.floor(side + 0.5) for side in corner) for corner in shape["points"])

    def check(width: int, height: int) -> None:
        if max(abs(right - left + 1 - width), abs(bottom - top + 1 - height)) > SLACK:
            raise UnreadableLabels(f"a mask of {width} x {height} between {left}, {top} and {right}, {bottom}")
        if left < 0 or top < 0 or left + width > size[1] + SLACK or top + height > size[0] + SLACK:
            raise UnreadableLabels(
                f"a mask of {width} x {height} at {left}, {top}; its photograph is {size[1]} x {size[0]}"
            )

    pixels = drawing.png_mask(base64.b64decode(shape["mask"], validate=True), check)
    whole = np.zeros(size, np.bool_)
    inside = whole[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    inside[:] = pixels[: inside.shape[0], : inside.shape[1]]
    return {"size": list(size), "counts": rle.encode(whole)}


def _joined(parts: Sequence[Annotation], size: Size, drawing: Drawing) -> Annotation:
    """One annotation of the parts of an object."""
    if len(parts) == 1:
        return parts[0]
    return parts[0]._replace(outline=drawing.joined([part.outline for part in parts], size))


def _unknown(shape: Any, size: Size, drawing: Drawing) -> list[Annotation]:
    """What an unusable shape makes unknown: its outline if only the label is unusable, else what `read_shapes` says."""
    try:
        outline = _outline(shape, shape.get("shape_type") or "polygon", size, drawing)
        if not drawing.is_blank(outline, size):
            return [unknown(outline)]
    except (*FAULTS, AttributeError):
        pass
    try:
        near = unknown(surrounding_box(np.asarray(shape["points"], np.float64).reshape(-1, 2), size))
    except FAULTS:
        return [unknown_pixels(size)]
    return [near] if shape.get("shape_type") == "mask" else [near, unknown_pixels(size)]
