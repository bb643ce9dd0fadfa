"""COCO run-length encoding of a whole label map in one pass, byte-equal to pycocotools.

The label map is read once, column by column, and its runs are split by class, so the cost does not grow with the number
of classes. Format (COCO API, `maskApi.c`): alternating column-major runs of zeros and ones, zeros first; `counts` is a
base-32 text in which each run from the fourth on is stored as its difference to the run two before. Where the kernel is
compiled, `kernel/runs.c` does the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import UnreadableAnswer
from lexiseg_labels.masks import rle
from lexiseg_model.errors import ShapeError
from lexiseg_model.kernel import library, shapes
from lexiseg_model.types import LabelMap, Rle

if TYPE_CHECKING:  # imports torch
    from lexiseg_model.masks.upsample import Spans


def encode_label_map(labels: LabelMap, n_classes: int) -> list[Rle]:
    """One RLE for each of `n_classes` classes, byte-equal to pycocotools; absent ones get an all-zero one.

    `labels` [H, W] are unsigned integers, values from `n_classes` on background. Raises ShapeError: they are not.
    """
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind != "u":
        raise ShapeError(f"expected a non-empty [H, W] map of unsigned integers, got {labels.dtype} {labels.shape}")
    if library.ready() and labels.itemsize <= 2:
        return library.encode_label_map(labels, n_classes)
    if not n_classes:
        return []
    size = (labels.shape[0], labels.shape[1])
    # Columns first: COCO counts run down the image.
    flat = np.ascontiguousarray(labels.T).reshape(-1)
    start = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    end, value = np.append(start[1:], flat.size), flat[start]
    # Runs by class, in column-major order within each; without the background's.
    order = np.argsort(value, kind="stable")[: np.count_nonzero(value < n_classes)]
    spans = np.stack([start[order], end[order]], 1)
    class_starts = np.searchsorted(value[order], np.arange(1, n_classes))
    return [encode_spans(of_class, size) for of_class in np.split(spans, class_starts)]


def encode_mask(mask: NDArray[np.bool_]) -> Rle:
    """RLE of one mask [H, W] bool."""
    return encode_label_map(np.where(mask, np.uint8(0), np.uint8(1)), 1)[0]


def encode_spans(spans: Spans, size: tuple[int, int]) -> Rle:
    """As `encode_mask`, of a mask of `size` (H, W) that is known by its runs."""
    if library.ready():
        return shapes.encode_spans(spans, size)
    n_pixels = size[0] * size[1]
    counts = np.diff(spans.reshape(-1), prepend=0, append=n_pixels)  # of zeros and ones in turn, zeros first
    counts = counts[:-1] if len(spans) and spans[-1, 1] == n_pixels else counts
    return Rle(size, rle.text_of(counts.tolist()), *rle.extent_of(counts, size[0]))


def decode_spans(mask: Rle) -> Spans:
    """The runs [N, 2] of a mask: the inverse of `encode_spans`. Raises ShapeError: as `decode`."""
    with _checked():
        ends = np.cumsum(rle.runs_of(mask.counts, mask.size))
    # Counts start with zeros, so each run of ones is between an even end and the next.
    return np.stack([ends[:-1:2], ends[1::2]], 1)


def decode(mask: Rle) -> NDArray[np.bool_]:
    """The mask [H, W] bool of an RLE. Raises ShapeError: `counts` is invalid for `size`."""
    with _checked():
        return rle.decode(mask.counts, mask.size)


@contextmanager
def _checked() -> Iterator[None]:
    try:
        yield
    except UnreadableAnswer as error:
        raise ShapeError(f"an RLE that cannot be read: {error}") from None
