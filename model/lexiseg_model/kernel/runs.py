"""COCO run lengths of a label map, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call, is_wide
from lexiseg_model.types import LabelMap, Rle

MOST_CHARACTERS = 14  # of a run: the zeros before it and its ones, seven each


def encode_label_map(labels: LabelMap, n_classes: int) -> list[Rle]:
    """As `lexiseg_model.masks.rle.encode_label_map`; labels [H, W] of 1 or 2 bytes, not empty."""
    labels = np.ascontiguousarray(labels)
    size = height, width = labels.shape
    changes = np.empty(width + 1, np.int64), np.empty(labels.size, np.int32), np.empty(height, np.int64)
    n_runs = call("count_runs", labels, height, width, is_wide(labels), *changes)
    summaries, text = _room(n_runs, n_classes)
    call("encode_runs", labels, height, width, is_wide(labels), *changes, n_runs, n_classes, summaries, text)
    return rles_of(summaries, text, size)


def encode_known_runs(
    start: NDArray[np.int64], value: NDArray[np.int32], size: tuple[int, int], n_classes: int
) -> list[Rle]:
    """The same of a map [H, W] whose N runs down its columns are known.

    Args:
        start: [N + 1] places x * H + y at which they begin, ascending from 0, and H * W.
        value: [N] their labels.
        size: of the map.
        n_classes: values from here on are nobody's.
    """
    summaries, text = _room(len(value), n_classes)
    call("encode_known_runs", start, value, len(value), n_classes, size[0], summaries, text)
    return rles_of(summaries, text, size)


def _room(n_runs: int, n_classes: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    return np.empty((n_classes, 6), np.int64), np.empty(MOST_CHARACTERS * (n_runs + n_classes), np.uint8)


def rles_of(summaries: NDArray[np.int64], text: NDArray[np.uint8], size: tuple[int, int]) -> list[Rle]:
    """What the kernel wrote of each class [K, 6], and of all together, as run lengths of a map of that size."""
    characters = text[: summaries[-1, -1] if len(summaries) else 0].tobytes().decode("ascii")
    rles: list[Rle] = []
    start, absent = 0, None
    for area, x, y, width, height, end in summaries.tolist():  # each begins where the one before it ends
        if area:
            rles.append(_rle(size, characters[start:end], area, (x, y, width, height)))
        else:  # one for all: of a long list hardly a class is there
            absent = absent or _rle(size, characters[start:end], 0, (0, 0, 0, 0))
            rles.append(absent)
        start = end
    return rles


def _rle(size: tuple[int, int], counts: str, area: int, bbox: tuple[int, int, int, int]) -> Rle:
    """As `Rle(...)`, in two fifths of the time: what is frozen sets each of its fields by a call."""
    rle: Rle = object.__new__(Rle)
    fields = rle.__dict__
    fields["size"] = size
    fields["counts"] = counts
    fields["area"] = area
    fields["bbox"] = bbox
    return rle
