"""CVAT's XML of images as its tools and ours write it; shapes are read as Labelme's."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks import png
from lexiseg_labels.masks.outlines import Size

# Labelme's names of CVAT's shapes; an ellipse is no shape of it, so its extent is unknown.
KINDS = {
    "polygon": "polygon",
    "polyline": "linestrip",
    "points": "points",
    "box": "rectangle",
    "ellipse": "ellipse",
    "mask": "mask",
}


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


def shapes_of(image: ElementTree.Element, size: Size) -> list[dict[str, Any]]:
    """The shapes of an `image` of [H, W] as Labelme has them; what else is in it is none."""
    return [_shape_of(each, size) for each in image if each.tag in KINDS]


def _shape_of(element: ElementTree.Element, size: Size) -> dict[str, Any]:
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


def _labelme_mask(element: ElementTree.Element, size: Size) -> dict[str, Any]:
    left, top, pixels = mask_of(element, size)
    height, width = pixels.shape
    points = [[left, top], [left + width - 1, top + height - 1]]
    return {"points": points, "mask": base64.b64encode(png.encode(pixels.astype(np.uint8) * np.uint8(255))).decode()}


def mask_of(element: ElementTree.Element, size: Size) -> tuple[int, int, NDArray[np.bool_]]:
    """Left, top and pixels [h, w] of a `mask` element on a picture [H, W], as `formats/cvat.py` writes it.

    Raises:
        ValueError: a number is none, the runs do not fill their box, or it is larger than the picture.
    """
    left, top, width, height = (int(element.get(name, "")) for name in ("left", "top", "width", "height"))
    counts = [int(run) for run in element.get("rle", "").split(",")]
    fits = 0 < width <= size[1] and 0 < height <= size[0]
    if not fits or min(counts) < 0 or sum(counts) != width * height:
        raise ValueError("runs that do not fill their box, or a box larger than the picture")
    return left, top, np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
