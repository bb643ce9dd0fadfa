"""Masks as COCO and SA-1B write them: run lengths as text or as numbers, or polygons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from lexiseg_model.data.polygon_fill import fill_polygon
from lexiseg_model.errors import DatasetError, ModelError, SampleError, ShapeError
from lexiseg_model.masks.rle import decode_spans, encode_mask, encode_spans
from lexiseg_model.types import Rle


def read_segmentation(segmentation: object, size: tuple[int, int]) -> Rle:
    """The run lengths of one `segmentation`, with area and box counted anew.

    Args:
        segmentation: {"size", "counts"} with counts as text or as numbers, or a list of polygons.
        size: (H, W) of the photograph.

    Raises:
        DatasetError: it is none of these, or of another size.
    """
    try:
        if isinstance(segmentation, dict):
            return _of_counts(segmentation, size)
        if isinstance(segmentation, list) and segmentation:
            return encode_mask(np.logical_or.reduce([fill_polygon(ring, size) for ring in segmentation]))
    except (ShapeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"a mask that cannot be read: {error}") from None
    raise DatasetError(f"a mask that is neither run lengths nor polygons: {segmentation!r:.60}")


def read_objects(name: str, entries: Sequence[Any], size: tuple[int, int]) -> tuple[Rle, ...]:
    """The masks of a photograph's annotations.

    Raises:
        SampleError: one cannot be read.
    """
    try:
        return tuple(read_segmentation(entry["segmentation"], size) for entry in entries)
    except (ModelError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise SampleError(name, f"its objects cannot be read: {reason}") from None


def _of_counts(entry: dict[str, Any], size: tuple[int, int]) -> Rle:
    height, width = (int(side) for side in entry["size"])
    if (height, width) != size:
        raise DatasetError(f"a mask of {width} x {height}, its photograph {size[1]} x {size[0]}")
    counts = entry["counts"]
    if isinstance(counts, str):
        return encode_spans(decode_spans(Rle(size, counts, 0, (0, 0, 0, 0))), size)
    ends = list(accumulate(int(count) for count in counts))
    if not ends or ends[-1] != height * width or min(counts) < 0:
        raise DatasetError(f"runs that sum to {ends[-1] if ends else 0}, not {height * width}")
    spans = np.array([(start, end) for start, end in zip(ends[:-1:2], ends[1::2], strict=True) if end > start])
    return encode_spans(spans.reshape(-1, 2).astype(np.int64), size)
