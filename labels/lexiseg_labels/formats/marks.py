"""What foreign files mark: the rules that all readers share, for shapes and for pictures that a person has reviewed.

Every element of a file is a class, background, unknown, or no mark at all. Only a reader's list of names makes an
element no mark; a kind that no reader knows is unknown. Readers hand each other's shapes over as Labelme has them:
polygons, circles and masks are outlines, rectangles boxes, other kinds show no area. A mask may be a `segmentation` as
COCO has it in place of a PNG; the highest `z_order` is in front.
"""

from __future__ import annotations

import base64
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.annotations import Annotation, ClassName, Marks, unknown, unknown_pixels
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks import rle
from lexiseg_labels.masks.outlines import (
    Outline,
    Size,
    box_outline,
    checked_box,
    checked_outline,
    surrounding_box,
    whole_number,
)
from lexiseg_labels.picture_names import is_picture_name

CORNERS = 64  # of the polygon of an ellipse
ROTATED_BOXES = ("rotation", "oriented_rectangle")  # of X-AnyLabeling and of Labelme
BOXES = ("rectangle", *ROTATED_BOXES)
BETWEEN = "shape between two keyframes"
ENCLOSING = ("mask", "cuboid", BETWEEN)  # kinds with the whole object between their points
SLACK = 1  # pixels by which the corners of a mask may miss its size, as Labelme's versions do
MAX_DEPTH = 6  # of points below an element
POINT_KEYS = ("points", "vertices", "elements", "keypoints")
REVIEWED = "reviewed"  # key of a picture's mark
# The pictures of masks raise the others.
FAULTS = (UnreadableLabels, AttributeError, LookupError, OSError, OverflowError, SyntaxError, TypeError, ValueError)
Group: TypeAlias = "tuple[object, object]"  # label and group_id
Picture = TypeVar("Picture")
Raw = TypeVar("Raw")


class Drawing(Protocol):
    """What draws for the reader."""

    def is_blank(self, outline: Outline, size: Size) -> bool:
        """Whether a checked outline covers no pixel of a picture [H, W]."""

    def joined(self, outlines: Sequence[Outline], size: Size) -> Outline:
        """What any of some checked outlines covers."""

    def png_mask(self, content: bytes, check: Callable[[int, int], None]) -> NDArray[np.bool_]:
        """Pixels [h, w] of a PNG that are not 0, or not transparent; `check` gets width and height before decoding."""


class Listed(NamedTuple):
    """A picture that a file lists."""

    name: str  # path or address
    height: object  # as it is stated, of any type
    width: object
    read: Callable[[Size, ClassName, Drawing], Marks]  # its marks, on a picture [H, W]
    reviewed: bool | None = None  # by a person; None: the file does not say
    fault: str | None = None  # why it is left out
    file: str | None = None  # name of the file of labels that is only its own
    video: str | None = None  # of which it is the frame `name`, where there is no such picture


def reviewed_mark(content: object) -> bool | None:
    """Whether an object of a file marks its picture as reviewed; None: it does not say."""
    mark = content.get(REVIEWED) if isinstance(content, Mapping) else None
    return mark if isinstance(mark, bool) else None


def reviewed_names(text: str) -> frozenset[str]:
    """The pictures that a list names, as `is_listed` compares them."""
    return frozenset(_loose(line) for line in text.splitlines() if is_picture_name(line.strip()))


def is_listed(place: str, names: frozenset[str]) -> bool:
    """Whether a list names the picture at a path in the set, by the end of that path."""
    parts = _loose(place).split("/")
    return any("/".join(parts[start:]) in names for start in range(len(parts)))


def unreviewed(marks: Mapping[Picture, bool | None]) -> list[Picture]:
    """The pictures of a set that do not count: without a mark, where any has one."""
    if all(mark is None for mark in marks.values()):
        return []
    return [picture for picture, mark in marks.items() if not mark]


def _loose(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/")).casefold().removeprefix("./")


def points_in(value: object, depth: int = MAX_DEPTH) -> list[list[float]]:
    """The points [x, y] of an element of an unknown kind: in lists, or as `x` with `y`."""
    if isinstance(value, Mapping) and depth:
        here = [[value["x"], value["y"]]] if _are_numbers([value.get("x"), value.get("y")]) else []
        return here + [point for key in POINT_KEYS for point in points_in(value.get(key), depth - 1)]
    if isinstance(value, list) and depth:
        if value and _are_numbers(value):
            return [] if len(value) % 2 else [*map(list, zip(value[::2], value[1::2], strict=True))]
        return [point for each in value for point in points_in(each, depth - 1)]
    return []


def _are_numbers(values: Iterable[object]) -> bool:
    return all(isinstance(each, int | float) for each in values)


def ellipse(x: float, y: float, across: float, down: float, degrees: float = 0.0) -> list[list[float]]:
    """The polygon of an ellipse by its centre and its radii, turned clockwise."""
    angles = [2 * math.pi * step / CORNERS for step in range(CORNERS)]
    return turned([[x + across * math.cos(angle), y + down * math.sin(angle)] for angle in angles], (x, y), degrees)


def box_corners(left: float, top: float, width: float, height: float) -> list[list[float]]:
    return [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]


def turned(points: Sequence[Sequence[float]], around: tuple[float, float], degrees: float) -> list[list[float]]:
    """Points [x, y], turned clockwise around one."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    moved = ((x - around[0], y - around[1]) for x, y in points)
    return [[around[0] + cosine * x - sine * y, around[1] + sine * x + cosine * y] for x, y in moved]


def shape_reader(shapes: Callable[[Size], Sequence[Any]]) -> Callable[[Size, ClassName, Drawing], Marks]:
    """What reads shapes, as Labelme has them, that depend on the size of their picture."""
    return lambda size, class_name, drawing: _read_shapes(shapes(size), size, class_name, drawing)


def reader_of(marks: Sequence[Raw], read: Callable[[Raw, Size], Any]) -> Callable[[Size, ClassName, Drawing], Marks]:
    """`shape_reader` of the shapes that a format reads of some marks."""
    return shape_reader(lambda size: [read(each, size) for each in marks])


def _read_shapes(shapes: Sequence[Any], size: Size, class_name: ClassName, drawing: Drawing) -> Marks:
    """Shapes of one label and one `group_id` are parts of an object.

    An unusable shape, or one of an unknown kind, makes unknown what its points surround, and, unless the object is
    between them, all that no other explains.
    """
    annotations: list[Annotation] = []
    parts: dict[Group, list[Annotation]] = {}
    faults: list[tuple[str, str]] = []
    n_boxes = 0
    for number, shape in enumerate(shapes, 1):
        z_order = _z_order(shape)
        try:
            annotation = _annotation(shape, size, class_name, drawing)._replace(z_order=z_order)
        except FAULTS as error:
            faults.append((f"shape {number}", f"no {error}" if isinstance(error, KeyError) else str(error)))
            annotations += _unknown(shape, size, z_order, drawing)
            continue
        n_boxes += annotation.ignored and annotation.category is not None
        group = shape.get("group_id")
        if annotation.ignored or not isinstance(group, int | str):
            annotations.append(annotation)
        else:
            parts.setdefault((annotation.category, group), []).append(annotation)
    whole = (
        each[0] if len(each) == 1 else each[0]._replace(outline=drawing.joined([part.outline for part in each], size))
        for each in parts.values()
    )
    return Marks([*annotations, *whole], faults, n_boxes, len(shapes))


def _z_order(shape: Any) -> int:
    try:
        return whole_number(shape["z_order"])
    except FAULTS:
        return 0


def _annotation(shape: dict[str, Any], size: Size, class_name: ClassName, drawing: Drawing) -> Annotation:
    category = class_name(shape["label"]) if isinstance(shape["label"], str | int) else ""
    if category == "":
        raise UnreadableLabels("no label, or several")
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
    if kind == "mask":
        return checked_outline(shape["segmentation"], size) if "segmentation" in shape else _mask(shape, size, drawing)
    if kind == "circle":
        (x, y), (at_x, at_y) = shape["points"]
        radius = math.hypot(at_x - x, at_y - y)
        return checked_outline([_flat(ellipse(x, y, radius, radius))], size)
    if kind == "polygon" or kind in ROTATED_BOXES:
        return checked_outline([_flat(shape["points"])], size)
    raise UnreadableLabels(f"a {kind!r:.40}; expected a polygon, a circle, a mask or a rectangle")


def _flat(points: Sequence[Sequence[float]]) -> list[float]:
    if any(len(point) != 2 for point in points):
        raise UnreadableLabels("a corner that is no x with its y")
    return [number for point in points for number in point]


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

    if "mask" not in shape:
        raise UnreadableLabels(
            f"a mask without pixels that fill {left}, {top} to {right}, {bottom} of its photograph of "
            f"{size[1]} x {size[0]}"
        )
    pixels = drawing.png_mask(base64.b64decode(shape["mask"], validate=True), check)
    whole = np.zeros(size, np.bool_)
    inside = whole[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    inside[:] = pixels[: inside.shape[0], : inside.shape[1]]
    return {"size": list(size), "counts": rle.encode(whole)}


def _unknown(shape: Any, size: Size, z_order: int, drawing: Drawing) -> list[Annotation]:
    """What an unusable shape makes unknown: its outline if only the label is, else as `_read_shapes` says."""
    try:
        outline = _outline(shape, shape.get("shape_type") or "polygon", size, drawing)
        if not drawing.is_blank(outline, size):
            return [unknown(outline)._replace(z_order=z_order)]
    except FAULTS:
        pass
    try:
        near = unknown(surrounding_box(np.asarray(shape["points"], np.float64).reshape(-1, 2), size))
    except FAULTS:
        return [unknown_pixels(size)]
    near = near._replace(z_order=z_order)
    return [near] if shape.get("shape_type") in ENCLOSING else [near, unknown_pixels(size)]
