"""Answers made by hand, of masks that are known."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_client import CacheUse, Segment, Segmentation, Timings
from lexiseg_labels.segments import RunLengths
from lexiseg_model.masks.rle import encode_mask

SIZE = (40, 60)


def frame() -> NDArray[np.bool_]:
    """A rectangle with a rectangular hole."""
    mask = np.zeros(SIZE, bool)
    mask[5:25, 10:40] = True
    mask[10:15, 20:30] = False
    return mask


def pieces() -> NDArray[np.bool_]:
    """Two rectangles apart."""
    mask = np.zeros(SIZE, bool)
    mask[28:38, 2:12] = True
    mask[30:36, 45:58] = True
    return mask


MASKS = {"frame": frame(), "pieces": pieces()}


def segment(index: int, label: str | None, mask: NDArray[np.bool_]) -> Segment:
    rle = encode_mask(mask)
    return Segment(
        id=index + 1, label=label, class_index=None if label is None else index, score=0.75, area=rle.area,
        bbox=rle.bbox, shape=RunLengths(rle.size, rle.counts),
    )  # fmt: skip


def answer(**changes: Any) -> Segmentation:
    """A frame and two pieces, of classes 0 and 1."""
    values: dict[str, Any] = {
        "id": "a",
        "image_id": "b",
        "model": "tiny",
        "model_digest": "c",
        "task": "semantic",
        "size": SIZE,
        "segments": tuple(segment(index, label, mask) for index, (label, mask) in enumerate(MASKS.items())),
        "timings_ms": Timings(1, 0, 0, 2, 3, 6),
        "cache": CacheUse(0, 2, False),
    }
    return Segmentation(**(values | changes))
