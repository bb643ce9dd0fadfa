"""COCO run lengths of a label map, compiled."""

from __future__ import annotations

from itertools import repeat

import numpy as np

from lexiseg_model.kernel.library import call, is_wide
from lexiseg_model.types import LabelMap, Rle

MOST_CHARACTERS = 14  # of a run: the zeros before it and its ones, seven each


def encode_label_map(labels: LabelMap, n_classes: int) -> list[Rle]:
    """As `lexiseg_model.masks.rle.encode_label_map`; labels [H, W] of 1 or 2 bytes, not empty."""
    labels = np.ascontiguousarray(labels)
    size = height, width = labels.shape
    changes = np.empty(width + 1, np.int64), np.empty(labels.size, np.int32), np.empty(height, np.int64)
    n_runs = call("count_runs", labels, height, width, is_wide(labels), *changes)
    summaries = np.empty((n_classes, 6), np.int64)
    text = np.empty(MOST_CHARACTERS * (n_runs + n_classes), np.uint8)
    call("encode_runs", labels, height, width, is_wide(labels), *changes, n_runs, n_classes, summaries, text)
    characters = text[: summaries[-1, -1] if n_classes else 0].tobytes().decode("ascii")
    starts = np.zeros(n_classes, np.int64)
    starts[1:] = summaries[:-1, 5]
    present = np.flatnonzero(summaries[:, 0])
    areas, *boxes, ends = summaries[present].T.tolist()
    counts = [characters[start:end] for start, end in zip(starts[present].tolist(), ends, strict=True)]
    made = map(Rle, repeat(size), counts, areas, zip(*boxes, strict=True))
    if len(present) == n_classes:
        return list(made)
    first = int(summaries[:, 0].argmin())
    absent = Rle(size, characters[starts[first] : summaries[first, 5]], 0, (0, 0, 0, 0))
    rles = [absent] * n_classes  # one for all: of a long list hardly a class is there
    for index, rle in zip(present.tolist(), made, strict=True):
        rles[index] = rle
    return rles
