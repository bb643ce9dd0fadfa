"""CVAT XML (`CVAT for images 1.1`): masks as run lengths in their boxes, row by row, background first.

What tools write is read by `formats/cvat_reading.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal
from xml.etree import ElementTree

from lexiseg_labels.data_set import DataSet, File, Format, category_name
from lexiseg_labels.masks.joining import joined_contour
from lexiseg_labels.masks.rle import lengths_of
from lexiseg_labels.segments import UNNAMED, Answer, Segment, exportable, segment_rings

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters without a form in XML 1.0
LISTING = "annotations.xml"
DECLARATION = "<?xml version='1.0' encoding='utf-8'?>\n"


def xml_text(text: str) -> str:
    """A text with characters without a form in XML escaped as in JSON, for names of files."""
    return NO_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def to_cvat(
    answer: Answer,
    image_name: str,
    *,
    image_id: int = 0,
    shape: Literal["mask", "polygon"] = "mask",
    simplify: float = 0.0,
) -> str:
    """CVAT XML (`CVAT for images 1.1`) for this image.

    Args:
        image_name: name of the image file in the task.
        shape: "mask" keeps masks exact; "polygon" joins parts as `to_yolo`.
        simplify: as for `to_labelme`.

    Raises:
        ValueError: an unknown shape.
        NoMasks: requested with mask="none".
    """
    if shape not in ("mask", "polygon"):
        raise ValueError(f"shape: expected mask or polygon, got {shape!r}")
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    image = _image(image_id, image_name, answer.size)
    root.append(image)
    for segment in exportable(answer.segments):
        extra = _mask(segment) if shape == "mask" else _polygon(segment, simplify)
        _add(image, shape, segment.label or UNNAMED, extra)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"


def _image(number: int, name: str, size: tuple[int, int]) -> ElementTree.Element:
    height, width = map(str, size)
    return ElementTree.Element("image", {"id": str(number), "name": xml_text(name), "width": width, "height": height})


def _add(image: ElementTree.Element, shape: str, label: str, extra: dict[str, str]) -> None:
    common = {"label": xml_text(label), "source": "auto", "occluded": "0", "z_order": "0"}
    ElementTree.SubElement(image, shape, common | extra)


def _mask(segment: Segment) -> dict[str, str]:
    x, y, width, height = segment.bbox
    crop = segment.shape.pixels()[y : y + height, x : x + width]
    runs = ", ".join(map(str, lengths_of(crop.reshape(-1))))  # row by row
    return {"rle": runs, "left": str(x), "top": str(y), "width": str(width), "height": str(height)}


def _polygon(segment: Segment, tolerance: float) -> dict[str, str]:
    corners = joined_contour(segment_rings(segment, tolerance)).tolist()
    return {"points": ";".join(f"{x},{y}" for x, y in corners)}


def _shared(data: DataSet) -> Iterator[File]:
    yield LISTING, _annotations(data)


def _annotations(data: DataSet) -> Iterator[bytes]:
    yield f"{DECLARATION}<annotations>\n  <version>1.1</version>\n  <meta><task><labels>".encode()
    for name in data.categories:  # of the task, without which datumaro reads no labels
        label = ElementTree.Element("label")
        ElementTree.SubElement(label, "name").text = xml_text(name)
        yield ElementTree.tostring(label, "unicode").encode()
    yield b"</labels></task></meta>\n"
    for number, picture in enumerate(data.pictures()):
        image = _image(number, picture.source or picture.file_name, picture.size)
        for segment in exportable(picture.segments):
            _add(image, "mask", category_name(segment, data.classes), _mask(segment))
        ElementTree.indent(image, level=1)
        yield f"  {ElementTree.tostring(image, 'unicode')}\n".encode()
    yield b"</annotations>\n"


FORMAT = Format("cvat", f"{LISTING} (CVAT for images 1.1)", shared=_shared, listing=LISTING)
