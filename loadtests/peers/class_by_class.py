"""The usual way to encode a label map: one boolean mask for each class, through pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco


def segments_of(labels: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Label, RLE counts, area and box of every class with pixels in a map of class indices [H, W]."""
    segments = []
    for index, name in enumerate(classes):
        mask = np.asfortranarray((labels == index).astype(np.uint8))
        if mask.any():
            rle = coco.encode(mask)
            area, box = int(coco.area(rle)), coco.toBbox(rle).tolist()
            segments.append({"label": name, "counts": rle["counts"].decode(), "area": area, "bbox": box})
    return segments
