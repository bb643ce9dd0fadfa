"""Labelme's JSON: a polygon for each part of a segment, or one mask if it has holes; X-AnyLabeling writes it, too."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from lexiseg_labels.data_set import File, Format, Picture, category_name
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.marks import Listed, reviewed_mark, shape_reader
from lexiseg_labels.json_text import json_text
from lexiseg_labels.masks import png
from lexiseg_labels.segments import UNNAMED, Answer, Segment, exportable, segment_rings

VERSION = "5.5.0"  # masks exist since 5.2


def to_labelme(answer: Answer, image_path: str = "", *, simplify: float = 0.0) -> dict[str, Any]:
    """The Labelme JSON for an image: a polygon for each part of a segment, or one mask if it has holes.

    Args:
        image_path: path from the JSON file to the image.
        simplify: maximum deviation of contours in pixels; 0 keeps every corner.

    Raises:
        NoMasks: requested with mask="none".
    """
    named = [(segment, segment.label or UNNAMED) for segment in exportable(answer.segments)]
    return _document(named, simplify, image_path, answer.size)


def _document(
    named: Iterable[tuple[Segment, str]], tolerance: float, image_path: str, size: tuple[int, int]
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [shape for segment, label in named for shape in _shapes(segment, label, tolerance)],
        "imagePath": image_path,
        "imageData": None,  # Labelme reads the file
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def _shapes(segment: Segment, label: str, tolerance: float) -> list[dict[str, Any]]:
    rings = segment_rings(segment, tolerance)
    if any(ring.holes for ring in rings):  # Labelme polygons cannot have holes
        x, y, width, height = segment.bbox
        pixels = segment.shape.pixels()[y : y + height, x : x + width].astype(np.uint8) * np.uint8(255)
        mask = base64.b64encode(png.encode(pixels)).decode()
        # The second corner is the last pixel inside.
        return [_shape(segment, label, "mask", [[x, y], [x + width - 1, y + height - 1]], mask)]
    return [_shape(segment, label, "polygon", ring.exterior.tolist(), None) for ring in rings]


def _shape(segment: Segment, label: str, kind: str, points: list[list[int]], mask: str | None) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": segment.id,  # groups the parts of a segment
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": mask,
    }


def _of_picture(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    path = posixpath.relpath(picture.link or picture.file_name, posixpath.dirname(picture.name) or ".")
    named = [(segment, category_name(segment, classes)) for segment in exportable(picture.segments)]
    document = _document(named, 0.0, path, picture.size)
    if picture.link is None and picture.read is not None:
        document["imageData"] = base64.b64encode(picture.read()).decode()
    if picture.reviewed is not None:
        document["flags"] = {"reviewed": picture.reviewed}
    yield f"{picture.name}.json", f"{json_text(document)}\n".encode()


def picture_of(content: object, file: str) -> Listed:
    """The picture of a file; its name is "" where none is stated. Raises UnreadableLabels: it is not Labelme's."""
    if not isinstance(content, dict) or not isinstance(shapes := content.get("shapes"), list):
        raise UnreadableLabels("no JSON of Labelme: it has no list of shapes")
    name, height, width = (content.get(key) for key in ("imagePath", "imageHeight", "imageWidth"))
    read, reviewed = shape_reader(lambda _: shapes), reviewed_mark(content.get("flags"))
    return Listed(name if isinstance(name, str) else "", height, width, read, reviewed, file=file)


FORMAT = Format("labelme", "NAME.json for each picture", _of_picture, embeds=True, marks_reviewed=True)
