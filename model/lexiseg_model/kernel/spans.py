"""Masks by their runs, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.axes import Axes
from lexiseg_model.kernel.library import call
from lexiseg_model.kernel.runs import MOST_CHARACTERS
from lexiseg_model.types import Rle


def cut(logits: NDArray[np.float32], axes: Axes) -> NDArray[np.int64]:
    """As `lexiseg_model.masks.cut.cut`: logits [h, w] -> spans [N, 2]."""
    logits = np.ascontiguousarray(logits, np.float32)
    height, width = logits.shape
    places = np.empty(axes.size[1] * (height + 2) + 2, np.int64)
    n = call("cut", logits, height, width, *axes.passed, places)
    return places[:n].reshape(-1, 2).copy()  # of all that there might have been, what there is


def encode(spans: NDArray[np.int64], size: tuple[int, int], keep_counts: bool) -> Rle:
    """As `lexiseg_model.masks.rle.encode_spans`, or as `measure_spans` where counts are not kept."""
    spans = np.ascontiguousarray(spans, np.int64)
    summary = np.empty(6, np.int64)
    text = np.empty(MOST_CHARACTERS * (len(spans) + 1), np.uint8) if keep_counts else None
    call("encode_spans", spans, len(spans), size[0], size[0] * size[1], summary, text)
    area, x, y, width, height, end = summary.tolist()
    counts = "" if text is None else text[:end].tobytes().decode("ascii")
    return Rle(size, counts, area, (x, y, width, height))
