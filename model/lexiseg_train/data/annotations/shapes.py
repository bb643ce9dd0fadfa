"""Photographs whose shapes one file lists, as CVAT, Label Studio and Datumaro do; they are read as Labelme's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from lexiseg_labels.annotations import AnnotatedImage, Id
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.labelme_reading import read_shapes
from lexiseg_labels.masks.outlines import Size
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_train.data.annotations import drawing
from lexiseg_train.data.annotations.content import CocoFile, class_name, images_left_out, not_read
from lexiseg_train.data.annotations.photographs import Photographs
from lexiseg_train.data.annotations.sizes import MeasuredSizes
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.files.limits import MAX_ANNOTATIONS


class Listed(NamedTuple):
    """One photograph of a file: its name, its sides as they are stated, and its shapes for its (H, W)."""

    name: str
    height: object
    width: object
    shapes: Callable[[Size], list[dict[str, Any]]]


def read_listed(path: Path, listed: Iterable[Listed], files: SetFiles) -> CocoFile:
    """Read the photographs of a file; labels are the ids of their categories.

    Boxes have no outline; lines, points and ellipses mark objects of unknown extent. Photographs that are missing,
    cannot be read or are of another size are left out, counted and named.

    Raises:
        DatasetError: there are too many shapes, or what lists the photographs raises it.
    """
    images, unusable, faults, n_shapes, n_boxes, n_images = [], list[str](), list[str](), 0, 0, 0
    measured = MeasuredSizes(Photographs(path, files))
    for entry in listed:
        n_images += 1
        try:
            size = measured(entry.name, entry.height, entry.width)
        except UnreadableLabels as error:
            unusable.append(as_text(f"image {entry.name}: {error}"))
            continue
        shapes = entry.shapes(size)
        read = read_shapes(shapes, size, class_name, drawing)
        n_shapes += len(shapes)
        if n_shapes > MAX_ANNOTATIONS:
            raise DatasetError(f"{path} has more than {MAX_ANNOTATIONS:,} annotations, the most that is read")
        faults += [f"shape {number} of {entry.name}: {reason}" for number, reason in read.faults]
        n_boxes += read.n_boxes
        images.append(AnnotatedImage(entry.name, size, read.annotations))
    categories = [each.category for image in images for each in image.annotations]
    names: dict[Id, str] = {category: str(category) for category in categories if category is not None}
    warnings = images_left_out(path, n_images, unusable) + measured.warnings()
    return CocoFile(names, images, 0, warnings + not_read(path, n_shapes, faults, n_boxes), tuple(unusable))
