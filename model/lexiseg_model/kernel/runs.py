"""COCO run lengths of a label map, compiled."""

from __future__ import annotations

import numpy as np

from lexiseg_model.kernel.library import call, is_wide
from lexiseg_model.types import LabelMap, Rle

MOST_CHARACTERS = 14  # of a run: the zeros before it and its ones, seven each


def encode_label_map(labels: LabelMap, n_classes: int) -> list[Rle]:
    """As `lexiseg_model.masks.rle.encode_label_map`; labels [H, W] of 1 or 2 bytes, not empty."""
    labels = np.ascontiguousarray(labels)
    size = height, width = labels.shape
    first = np.empty(width + 1, np.int64)
    n_runs = call("count_runs", labels, height, width, is_wide(labels), first)
    summaries = np.empty((n_classes, 6), np.int64)
    text = np.empty(MOST_CHARACTERS * (n_runs + n_classes), np.uint8)
    call("encode_runs", labels, height, width, is_wide(labels), first, n_runs, n_classes, summaries, text)
    rles: list[Rle] = []
    absent: Rle | None = None  # one for all: of a long list hardly a class is there
    characters, start = text[: summaries[-1, -1] if n_classes else 0].tobytes().decode("ascii"), 0
    for area, x, y, box_width, box_height, end in summaries.tolist():
        if area:
            rles.append(Rle(size, characters[start:end], area, (x, y, box_width, box_height)))
        else:
            absent = absent or Rle(size, characters[start:end], 0, (0, 0, 0, 0))
            rles.append(absent)
        start = end
    return rles
