"""CVAT's own XML, "CVAT for images": all photographs of a task in one file. Its shapes are read as Labelme's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import ParseError

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats import cvat_reading as cvat
from lexiseg_model.errors import DatasetError
from lexiseg_train.data.annotations.shapes import Listed
from lexiseg_train.data.files.documents import read_bytes
from lexiseg_train.data.files.limits import MAX_XML_BYTES

MAX_HEAD = 1 << 16  # bytes


def is_cvat(path: Path) -> bool:
    """Whether a file is CVAT's XML of images; that of videos is not."""
    try:
        with path.open("rb") as file:
            head = file.read(MAX_HEAD)
    except OSError:
        return False
    return cvat.is_of_images(head)


def in_cvat(path: Path) -> Iterator[Listed]:
    """The photographs of a file. Raises DatasetError: it is no XML, has a DTD, or is too large."""
    try:
        for entry in cvat.images_of(read_bytes(path, MAX_XML_BYTES)):
            shapes = partial(cvat.shapes_of, entry)
            yield Listed(entry.get("name", ""), entry.get("height"), entry.get("width"), shapes)
    except UnreadableLabels as error:
        raise DatasetError(f"{path}: {error}") from None
    except ParseError as error:
        raise DatasetError(f"{path} is not XML: {error}") from None
