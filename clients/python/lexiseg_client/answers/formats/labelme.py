"""Labelme's JSON, one file for each image (wkentaro/labelme, `label_file.py`)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from lexiseg_client.answers.formats.shapes import UNNAMED, borders, exported
from lexiseg_client.pictures import png

if TYPE_CHECKING:
    from lexiseg_client.answers.segmentation import Segment, Segmentation

VERSION = "5.5.0"  # the first with masks is 5.2


def document(answer: Segmentation, image_path: str, tolerance: float) -> dict[str, Any]:
    """See `Segmentation.to_labelme`."""
    height, width = answer.size
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [shape for segment in exported(answer) for shape in _shapes(segment, tolerance)],
        "imagePath": image_path,
        "imageData": None,  # it reads the file beside the JSON
        "imageHeight": height,
        "imageWidth": width,
    }


def _shapes(segment: Segment, tolerance: float) -> list[dict[str, Any]]:
    rings = borders(segment, tolerance)
    if any(ring.holes for ring in rings):  # its polygons know none
        x, y, width, height = segment.bbox
        pixels = segment.shape.pixels()[y : y + height, x : x + width].astype(np.uint8) * np.uint8(255)
        mask = base64.b64encode(png.encode(pixels)).decode()
        # The second corner is the last pixel inside.
        return [_shape(segment, "mask", [[x, y], [x + width - 1, y + height - 1]], mask)]
    return [_shape(segment, "polygon", ring.exterior.tolist(), None) for ring in rings]


def _shape(segment: Segment, kind: str, points: list[list[int]], mask: str | None) -> dict[str, Any]:
    return {
        "label": segment.label or UNNAMED,
        "points": [[float(x), float(y)] for x, y in points],
        "group_id": segment.id,  # parts of one segment
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": mask,
    }
