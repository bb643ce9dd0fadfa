"""Labelme's JSON, one file beside each photograph; X-AnyLabeling and others write the same."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lexiseg_model.class_names import plain
from lexiseg_model.errors import DatasetError
from lexiseg_model.file_names import as_text
from lexiseg_model.pictures.listing import pictures_in
from lexiseg_train.data.annotations.coco import CocoAnnotation, CocoFile, CocoImage, Id, left_out
from lexiseg_train.data.annotations.photographs import is_file
from lexiseg_train.data.annotations.segmentation import (
    Segmentation,
    box_outline,
    checked_box,
    checked_segmentation,
    checked_size,
)

CORNERS = 64  # of the polygon of a circle


def is_labelme(path: Path) -> bool:
    """Whether a file is Labelme's JSON."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def read_labelme(files: Sequence[Path], folder: Path) -> CocoFile:
    """Read the files of a folder; images are named relative to it, and labels are the ids of their categories.

    Rectangles are boxes without an outline; lines and points show no area and are left out.

    Raises:
        DatasetError: a file states an impossible size of its photograph, or names none.
    """
    names: dict[Id, str] = {}
    images, faults, n_shapes, n_boxes = [], list[str](), 0, 0
    for path in files:
        content = json.loads(path.read_bytes())
        try:
            size = checked_size(content.get("imageHeight"), content.get("imageWidth"))
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from None
        image = CocoImage(str(_photograph(path, str(content["imagePath"])).relative_to(folder)), size, [])
        n_shapes += len(content["shapes"])
        for number, shape in enumerate(content["shapes"], 1):
            try:
                annotation = _annotation(shape, size)
            except (DatasetError, LookupError, OverflowError, TypeError, ValueError) as error:
                reason = f"no {error}" if isinstance(error, KeyError) else error
                faults.append(f"shape {number} of {path.name}: {reason}")
                continue
            names.setdefault(annotation.category, str(annotation.category))
            image.annotations.append(annotation)
            n_boxes += annotation.ignored
        images.append(image)
    return CocoFile(names, images, 0, left_out(folder, n_shapes, faults, n_boxes))


def _photograph(path: Path, named: str) -> Path:
    """The photograph of a file: the one it names, else the one of its own name beside it."""
    place, parent = path.parent / named.replace("\\", "/"), path.parent.resolve()
    if is_file(place) and place.resolve().is_relative_to(parent):
        return path.parent / place.resolve().relative_to(parent)  # an absolute path, too
    return next((each for each in pictures_in(path.parent) if each.stem == path.stem), path.parent / Path(named).name)


def _annotation(shape: dict[str, Any], size: tuple[int, int]) -> CocoAnnotation:
    """Raises DatasetError, LookupError, OverflowError, TypeError, ValueError: not Labelme's shape, or no area."""
    label = as_text(plain(str(shape["label"])))
    if not label:
        raise DatasetError("an empty label")
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if kind == "rectangle":
        (x0, y0), (x1, y1) = (points[0], points[len(points) // 2])  # two corners, or four of X-AnyLabeling
        box = checked_box([min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)])
        return CocoAnnotation(label, box_outline(box, size), True, None)
    outline: Segmentation
    if kind == "circle":
        outline = checked_segmentation([_circle(points)], size)
    elif kind == "polygon":
        outline = checked_segmentation([[number for point in points for number in point]], size)
    else:
        raise DatasetError(f"a {kind!r:.40}; expected a polygon, a circle or a rectangle")
    return CocoAnnotation(label, outline, False, None)


def _circle(points: Sequence[Sequence[float]]) -> list[float]:
    """The polygon of a circle by its centre and a point on it."""
    (x, y), (at_x, at_y) = points
    radius = math.hypot(at_x - x, at_y - y)
    angles = (2 * math.pi * step / CORNERS for step in range(CORNERS))
    return [number for angle in angles for number in (x + radius * math.cos(angle), y + radius * math.sin(angle))]
