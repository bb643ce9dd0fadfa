"""COCO run-length encoding of a whole label map in one pass, byte-equal to pycocotools.

The label map is read once, column by column; its runs are then split by class, so the cost does not grow with the
number of classes. Format: runs of zeros and ones alternate, zeros first, down the columns (COCO API, `maskApi.c`);
`counts` is a base-32 text in which each run from the fourth on is stored as its difference to the run two before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import ShapeError
from lexiseg_model.kernel import library
from lexiseg_model.kernel import runs as compiled
from lexiseg_model.kernel import spans as compiled_spans
from lexiseg_model.masks.cut import Spans
from lexiseg_model.types import LabelMap, Rle

DIGITS = 7  # 35 bits: more than any run of a 40-megapixel image needs
FIRST_CHARACTER = 48  # "0"
CONTINUES = 0x20
SIGN = 0x10


class LabelRuns(NamedTuple):
    """Runs of one label each, N of them, down the columns of a map [H, W].

    `start` [N + 1] holds the places x * H + y at which they begin, ascending from 0, and H * W; `value` [N] the labels.
    """

    size: tuple[int, int]
    start: NDArray[np.int64]
    value: NDArray[np.int32]


@dataclass(frozen=True)
class _Runs:
    """Runs of one value each, ordered by value and then by place: value, first pixel, one past the last."""

    value: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


def encode_label_map(labels: LabelMap, n_classes: int) -> list[Rle]:
    """One COCO RLE per class from a single pass over the label map.

    Args:
        labels: [H, W] unsigned integers; values >= n_classes belong to nobody.
        n_classes: how many classes to emit; absent ones get an all-zero RLE.

    Returns:
        `n_classes` RLEs over H x W in column-major order, byte-equal to pycocotools.

    Raises:
        ShapeError: labels is not two-dimensional, is empty, or holds signed or real numbers.
    """
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind != "u":
        raise ShapeError(f"expected a non-empty [H, W] map of unsigned integers, got {labels.dtype} {labels.shape}")
    if library.ready() and labels.itemsize <= 2:
        return compiled.encode_label_map(labels, n_classes)
    height, width = labels.shape
    runs = _find_runs(labels, n_classes)
    return _rles(runs, n_classes, (height, width))


def encode_label_runs(runs: LabelRuns, n_classes: int) -> list[Rle]:
    """As `encode_label_map`, of a map whose runs are known."""
    if library.ready():
        return compiled.encode_known_runs(runs.start, runs.value, runs.size, n_classes)
    named = np.flatnonzero(runs.value < n_classes)
    order = named[np.argsort(runs.value[named], kind="stable")]
    known = _Runs(runs.value[order].astype(np.int64), runs.start[order], runs.start[order + 1])
    return _rles(known, n_classes, runs.size)


def encode_mask(mask: NDArray[np.bool_]) -> Rle:
    """RLE of one [H, W] boolean mask."""
    return encode_label_map(np.where(mask, np.uint8(0), np.uint8(1)), 1)[0]


def encode_spans(spans: Spans, size: tuple[int, int]) -> Rle:
    """RLE of a mask that is known by its runs.

    Args:
        spans: [N, 2] as of `lexiseg_model.masks.cut`.
        size: (H, W) of the mask.

    Returns:
        What `encode_mask` gives for the mask.
    """
    if library.ready():
        return compiled_spans.encode(spans, size, keep_counts=True)
    return _rles(_runs(spans), 1, size)[0]


def measure_spans(spans: Spans, size: tuple[int, int]) -> Rle:
    """As `encode_spans`, but with empty counts: for those who read only area and box."""
    if library.ready():
        return compiled_spans.encode(spans, size, keep_counts=False)
    area, box = int((spans[:, 1] - spans[:, 0]).sum()), _boxes(_runs(spans), np.array([0, len(spans)]), size[0])[0]
    return Rle(size, "", area, (int(box[0]), int(box[1]), int(box[2]), int(box[3])))


def decode_spans(rle: Rle) -> Spans:
    """The runs of a mask: the inverse of `encode_spans`.

    Raises:
        ShapeError: as `decode`.
    """
    ends = np.cumsum(_checked_counts(rle))
    # Zeros come first, so a run of ones lies between each even end and the next.
    return np.stack([ends[:-1:2], ends[1::2]], 1)


def decode(rle: Rle) -> NDArray[np.bool_]:
    """The mask [H, W] of an RLE.

    Raises:
        ShapeError: `counts` is not a valid text for `size`.
    """
    height, width = rle.size
    counts = _checked_counts(rle)
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def decode_in_box(rle: Rle) -> NDArray[np.bool_]:
    """The part of a mask inside its `bbox`: [height, width], at the cost of the columns that it spans.

    Raises:
        ShapeError: as `decode`.
    """
    x, y, width, height = rle.bbox
    ends = np.cumsum(_checked_counts(rle))
    first, last = x * rle.size[0], (x + width) * rle.size[0]
    inside = ends.clip(first, last)
    flat = np.repeat(np.arange(len(ends)) % 2 == 1, np.diff(inside, prepend=first))
    return flat.reshape(width, rle.size[0]).T[y : y + height]


def _checked_counts(rle: Rle) -> NDArray[np.int64]:
    height, width = rle.size
    counts = _from_text(rle.counts)
    if (counts < 0).any() or counts.sum() != height * width:
        raise ShapeError(f"the runs of an RLE of {height} x {width} must sum to {height * width}, not {counts.sum()}")
    return counts


def _runs(spans: Spans) -> _Runs:
    return _Runs(np.zeros(len(spans), np.int64), spans[:, 0], spans[:, 1])


def _rles(runs: _Runs, n_classes: int, size: tuple[int, int]) -> list[Rle]:
    """One for each class, of runs ordered by class and then by place."""
    first = np.searchsorted(runs.value, np.arange(n_classes + 1))
    counts, owner_end = _counts(runs, first, size[0] * size[1])
    texts = _to_text(counts, owner_end)
    boxes = _boxes(runs, first, size[0])
    lengths = np.concatenate([[0], np.cumsum(runs.end - runs.start)])
    areas = lengths[first[1:]] - lengths[first[:-1]]
    return [
        Rle(size, text, int(area), (int(box[0]), int(box[1]), int(box[2]), int(box[3])))
        for text, area, box in zip(texts, areas, boxes, strict=True)
    ]


def _find_runs(labels: LabelMap, n_classes: int) -> _Runs:
    # Columns first: COCO counts run down the image.
    flat = np.ascontiguousarray(labels.T).reshape(-1)
    start = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    end = np.append(start[1:], flat.size)
    value = flat[start].astype(np.int64)
    named = value < n_classes
    value, start, end = value[named], start[named], end[named]
    order = np.argsort(value, kind="stable")
    return _Runs(value[order], start[order], end[order])


def _counts(runs: _Runs, first: NDArray[np.int64], pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Alternating run lengths of all classes behind each other, and where each class ends.

    A class with r runs has 2 r counts (zeros before, ones) and one more if zeros follow its last run.
    """
    n_runs = np.diff(first)
    last_end = np.zeros(len(n_runs), np.int64)
    last_end[n_runs > 0] = runs.end[first[1:][n_runs > 0] - 1]
    trailing = last_end < pixels
    owner_end = np.cumsum(2 * n_runs + trailing)
    counts = np.empty(int(owner_end[-1]) if len(owner_end) else 0, np.int64)
    before = np.concatenate([[0], runs.end[:-1]])[: len(runs.end)]
    before[first[:-1][n_runs > 0]] = 0
    # Where a run's zeros go: two places a run, shifted by the trailing zeros of the classes before.
    shift: NDArray[np.int64] = np.repeat(np.cumsum(trailing) - trailing, n_runs)
    place = 2 * np.arange(len(runs.start)) + shift
    counts[place] = runs.start - before
    counts[place + 1] = runs.end - runs.start
    counts[owner_end[trailing] - 1] = pixels - last_end[trailing]
    return counts, owner_end


def _to_text(counts: NDArray[np.int64], owner_end: NDArray[np.int64]) -> list[str]:
    owner_start = np.concatenate([[0], owner_end])[:-1]
    position = np.arange(len(counts)) - np.repeat(owner_start, owner_end - owner_start)
    rest = counts.copy()
    delta = position > 2
    rest[delta] -= counts[np.flatnonzero(delta) - 2]
    characters = np.zeros((len(counts), DIGITS), np.uint8)
    used = np.zeros((len(counts), DIGITS), bool)
    going = np.ones(len(counts), bool)
    for digit in range(DIGITS):
        low = rest & 0x1F
        rest = rest >> 5
        more = going & np.where(low & SIGN, rest != -1, rest != 0)
        characters[:, digit] = low + CONTINUES * more + FIRST_CHARACTER
        used[:, digit] = going
        going = more
        if not going.any():
            break
    text = characters[used].tobytes().decode("ascii")
    ends = np.concatenate([[0], np.cumsum(used.sum(1))])
    return [text[ends[a] : ends[b]] for a, b in zip(owner_start, owner_end, strict=True)]


def _from_text(text: str) -> NDArray[np.int64]:
    digits = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - FIRST_CHARACTER
    last = np.flatnonzero(digits & CONTINUES == 0)  # of each run
    first = np.append(0, last[:-1] + 1)[: len(last)]
    lengths = last - first + 1
    if ((digits < 0) | (digits >= 64)).any() or (lengths > DIGITS).any() or (len(digits) and digits[-1] & CONTINUES):
        raise ShapeError(f"the counts of an RLE are characters '0' to 'o', at most {DIGITS} a run")
    if not len(last):
        return last
    place = np.arange(len(digits)) - np.repeat(first, lengths)
    counts: NDArray[np.int64] = np.add.reduceat((digits & 0x1F) << 5 * place, first)
    counts -= np.where(digits[last] & SIGN, 1 << 5 * lengths, 0)
    # From the fourth run on they are differences to the run two before.
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def _boxes(runs: _Runs, first: NDArray[np.int64], height: int) -> NDArray[np.int64]:
    """Tight boxes [K, 4] as x, y, width, height; zeros for a class without runs."""
    boxes = np.zeros((len(first) - 1, 4), np.int64)
    present = np.flatnonzero(np.diff(first))
    left, right = runs.start // height, (runs.end - 1) // height
    # A run that goes on into the next column touches the bottom of one and the top of the other.
    crosses = left != right
    top = np.where(crosses, 0, runs.start % height)
    bottom = np.where(crosses, height - 1, (runs.end - 1) % height)
    at = first[present]
    x, y = np.minimum.reduceat(left, at), np.minimum.reduceat(top, at)
    boxes[present, 0], boxes[present, 1] = x, y
    boxes[present, 2] = np.maximum.reduceat(right, at) - x + 1
    boxes[present, 3] = np.maximum.reduceat(bottom, at) - y + 1
    return boxes
