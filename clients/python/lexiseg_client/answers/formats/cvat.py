"""CVAT's XML for images, version 1.1: masks as run lengths inside their boxes, or polygons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.answers.formats.shapes import UNNAMED, borders, exported
from lexiseg_client.answers.outlines import one_loop

if TYPE_CHECKING:
    from lexiseg_client.answers.segmentation import Segment, Segmentation


def document(
    answer: Segmentation, image_name: str, image_id: int, shape: Literal["mask", "polygon"], tolerance: float
) -> str:
    """See `Segmentation.to_cvat`."""
    if shape not in ("mask", "polygon"):
        raise ValueError(f"shape: expected mask or polygon, got {shape!r}")
    height, width = answer.size
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    image = ElementTree.SubElement(
        root, "image", {"id": str(image_id), "name": image_name, "width": str(width), "height": str(height)}
    )
    for segment in exported(answer):
        common = {"label": segment.label or UNNAMED, "source": "auto", "occluded": "0", "z_order": "0"}
        extra = _mask(segment) if shape == "mask" else {"points": _points(segment, tolerance)}
        ElementTree.SubElement(image, shape, common | extra)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"


def _mask(segment: Segment) -> dict[str, str]:
    x, y, width, height = segment.bbox
    inside = segment.shape.pixels()[y : y + height, x : x + width]
    runs = ", ".join(map(str, runs_of(inside)))
    return {"rle": runs, "left": str(x), "top": str(y), "width": str(width), "height": str(height)}


def runs_of(mask: NDArray[np.bool_]) -> list[int]:
    """How many pixels outside and inside in turn, outside first, row by row.

    Args:
        mask: [H, W].
    """
    flat = np.concatenate([[False], mask.reshape(-1)])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs: list[int] = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    return runs


def _points(segment: Segment, tolerance: float) -> str:
    return ";".join(f"{x},{y}" for x, y in one_loop(borders(segment, tolerance)).tolist())
