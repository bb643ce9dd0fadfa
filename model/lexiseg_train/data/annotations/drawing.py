"""Outlines as pycocotools draws them, and masks in PNG: what readers of lexiseg_labels leave to whoever draws."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from lexiseg_labels.masks.outlines import Outline, checked_outline
from lexiseg_model.masks.rle import decode, decode_spans, encode_mask, encode_spans
from lexiseg_model.types import Rle

PNG = b"\x89PNG"
FEW_PIXELS = 8  # area of a polygon that may cover no pixel's centre


def draw(outline: object, size: tuple[int, int]) -> Rle:
    """Run lengths of an outline, with area and box. Arguments and errors as `checked_outline`."""
    height, width = size
    checked = checked_outline(outline, size)
    if isinstance(checked, list):
        packed = coco.merge(coco.frPyObjects(checked, height, width))
    elif isinstance(checked["counts"], str):
        return encode_spans(decode_spans(Rle(size, checked["counts"], 0, (0, 0, 0, 0))), size)
    else:
        packed = coco.frPyObjects(checked, height, width)
    left, top, box_width, box_height = (int(side) for side in coco.toBbox(packed))
    return Rle(size, packed["counts"].decode(), int(coco.area(packed)), (left, top, box_width, box_height))


def is_blank(outline: Outline, size: tuple[int, int]) -> bool:
    """As `marks.Drawing`."""
    if isinstance(outline, list):
        rings = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in outline]
        # Drawing takes time, and a ring of some area inside the photograph needs none.
        for ring in rings:
            x, y = ring.T
            area = abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2
            if area > FEW_PIXELS and (ring >= 0).all() and (ring <= size[::-1]).all():
                return False
    return draw(outline, size).area == 0


def joined(outlines: Sequence[Outline], size: tuple[int, int]) -> Outline:
    """As `marks.Drawing`, in run lengths."""
    whole: NDArray[np.bool_] = np.logical_or.reduce([decode(draw(outline, size)) for outline in outlines])
    return {"size": list(size), "counts": encode_mask(whole).counts}


def png_mask(content: bytes, check: Callable[[int, int], None]) -> NDArray[np.bool_]:
    """As `marks.Drawing`."""
    if not content.startswith(PNG):
        raise ValueError("a mask that is no PNG")
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        check(*picture.size)
        if picture.has_transparency_data:  # Label Studio draws black on transparent
            alpha = np.asarray(picture.convert("RGBA"))[..., 3]
            if not alpha.all():
                return alpha > 0
        return np.asarray(picture.convert("L")) > 0 if picture.mode != "I;16" else np.asarray(picture) > 0
