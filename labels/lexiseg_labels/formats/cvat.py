"""CVAT XML (`CVAT for images 1.1`): masks as run lengths in their boxes, row by row, background first."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.data_set import DataSet, File, Format, category_name
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks import png
from lexiseg_labels.masks.joining import joined_contour
from lexiseg_labels.segments import UNNAMED, Answer, Segment, exportable, segment_rings

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters without a form in XML 1.0
LISTING = "annotations.xml"
# Labelme's names of CVAT's shapes; an ellipse is no shape of it, so its extent is unknown.
KINDS = {
    "polygon": "polygon",
    "polyline": "linestrip",
    "points": "points",
    "box": "rectangle",
    "ellipse": "ellipse",
    "mask": "mask",
}
DECLARATION = "<?xml version='1.0' encoding='utf-8'?>\n"


def xml_text(text: str) -> str:
    """A text whose characters without a form in XML are escaped as in JSON, for names of files."""
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
    runs = ", ".join(map(str, runs_of(crop)))
    return {"rle": runs, "left": str(x), "top": str(y), "width": str(width), "height": str(height)}


def runs_of(mask: NDArray[np.bool_]) -> list[int]:
    """CVAT's run lengths of a mask [H, W]: row-major, alternating background and foreground, background first."""
    flat = np.concatenate([[False], mask.reshape(-1)])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs: list[int] = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    return runs


def mask_of(element: ElementTree.Element, size: tuple[int, int]) -> tuple[int, int, NDArray[np.bool_]]:
    """Left, top and pixels [h, w] of a `mask` element on a picture [H, W], as `_mask` writes it.

    Raises:
        ValueError: a number is none, the runs do not fill their box, or it is larger than the picture.
    """
    left, top, width, height = (int(element.get(name, "")) for name in ("left", "top", "width", "height"))
    counts = [int(run) for run in element.get("rle", "").split(",")]
    fits = 0 < width <= size[1] and 0 < height <= size[0]
    if not fits or min(counts) < 0 or sum(counts) != width * height:
        raise ValueError("runs that do not fill their box, or a box larger than the picture")
    return left, top, np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)


def is_of_images(head: bytes) -> bool:
    """Whether a file, by its first bytes, is CVAT's XML of images; that of videos is not."""
    return b"<annotations" in head and b"<track" not in head


def images_of(content: bytes) -> Iterator[ElementTree.Element]:
    """The `image` elements of a file, one at a time.

    Raises:
        UnreadableLabels: with a DTD.
        ElementTree.ParseError: no XML.
    """
    # An entity may stand for any amount of text; CVAT writes UTF-8 without a DTD.
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"\0" in content:
        raise UnreadableLabels("XML with a DTD, or not in UTF-8, is not read")
    for _, element in ElementTree.iterparse(io.BytesIO(content)):
        if element.tag == "image":
            yield element
            element.clear()


def shapes_of(image: ElementTree.Element, size: tuple[int, int]) -> list[dict[str, Any]]:
    """The shapes of an `image` of [H, W] as Labelme has them; what else is in it is none."""
    return [_shape_of(each, size) for each in image if each.tag in KINDS]


def _shape_of(element: ElementTree.Element, size: tuple[int, int]) -> dict[str, Any]:
    """A shape on a photograph [H, W] as Labelme has it; one with unusable numbers lacks them."""
    shape: dict[str, Any] = {"label": element.get("label", ""), "shape_type": KINDS[element.tag]}
    try:
        if element.tag == "mask":
            return shape | _labelme_mask(element, size)
        if element.tag == "box":
            # A turned box is no rectangle of the photograph.
            turned = float(element.get("rotation", 0)) != 0
            left, top, right, bottom = (_number(element, name) for name in ("xtl", "ytl", "xbr", "ybr"))
            points = [[left, top], [right, bottom]]
            return shape | {"points": points, "shape_type": "rotation" if turned else "rectangle"}
        if element.tag == "ellipse":
            x, y, across, down = (_number(element, name) for name in ("cx", "cy", "rx", "ry"))
            return shape | {"points": [[x - across, y - down], [x + across, y + down]]}
        points = [[float(each) for each in pair.split(",")] for pair in element.get("points", "").split(";")]
        return shape | {"points": points}
    except ValueError:
        return shape


def _number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name, "nan"))


def _labelme_mask(element: ElementTree.Element, size: tuple[int, int]) -> dict[str, Any]:
    left, top, pixels = mask_of(element, size)
    height, width = pixels.shape
    points = [[left, top], [left + width - 1, top + height - 1]]
    return {"points": points, "mask": base64.b64encode(png.encode(pixels.astype(np.uint8) * np.uint8(255))).decode()}


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
