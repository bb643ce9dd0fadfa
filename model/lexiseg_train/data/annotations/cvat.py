"""CVAT's own XML, "CVAT for images": all photographs of a task in one file. Its shapes are read as Labelme's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from lexiseg_labels.annotations import AnnotatedImage, Id
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats import cvat
from lexiseg_labels.formats.labelme_reading import read_shapes
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_train.data.annotations import drawing
from lexiseg_train.data.annotations.content import CocoFile, class_name, images_left_out, not_read
from lexiseg_train.data.annotations.photographs import Photographs
from lexiseg_train.data.annotations.sizes import MeasuredSizes
from lexiseg_train.data.files.documents import read_bytes
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.files.limits import MAX_ANNOTATIONS, MAX_XML_BYTES

MAX_HEAD = 1 << 16  # bytes


def is_cvat(path: Path) -> bool:
    """Whether a file is CVAT's XML of images; that of videos is not."""
    try:
        with path.open("rb") as file:
            head = file.read(MAX_HEAD)
    except OSError:
        return False
    return cvat.is_of_images(head)


def read_cvat(path: Path, files: SetFiles) -> CocoFile:
    """Read a file; labels are the ids of their categories.

    Boxes have no outline; lines, points and ellipses mark objects of unknown extent. Photographs that are missing,
    cannot be read or are of another size are left out, counted and named.

    Raises:
        DatasetError: the file is no XML, has a DTD, or is too large.
    """
    images, unusable, faults, n_shapes, n_boxes, n_images = [], list[str](), list[str](), 0, 0, 0
    measured = MeasuredSizes(Photographs(path, files))
    for entry in _images(path):
        n_images += 1
        name = entry.get("name", "")
        try:
            size = measured(name, entry.get("height"), entry.get("width"))
        except UnreadableLabels as error:
            unusable.append(as_text(f"image {name}: {error}"))
            continue
        shapes = cvat.shapes_of(entry, size)
        read = read_shapes(shapes, size, class_name, drawing)
        n_shapes += len(shapes)
        if n_shapes > MAX_ANNOTATIONS:
            raise DatasetError(f"{path} has more than {MAX_ANNOTATIONS:,} annotations, the most that is read")
        faults += [f"shape {number} of {name}: {reason}" for number, reason in read.faults]
        n_boxes += read.n_boxes
        images.append(AnnotatedImage(name, size, read.annotations))
    categories = [each.category for image in images for each in image.annotations]
    names: dict[Id, str] = {category: str(category) for category in categories if category is not None}
    warnings = images_left_out(path, n_images, unusable) + measured.warnings()
    return CocoFile(names, images, 0, warnings + not_read(path, n_shapes, faults, n_boxes), tuple(unusable))


def _images(path: Path) -> Iterator[Element]:
    """The images of a file. Raises DatasetError: as `read_cvat`."""
    try:
        yield from cvat.images_of(read_bytes(path, MAX_XML_BYTES))
    except UnreadableLabels as error:
        raise DatasetError(f"{path}: {error}") from None
    except ParseError as error:
        raise DatasetError(f"{path} is not XML: {error}") from None
