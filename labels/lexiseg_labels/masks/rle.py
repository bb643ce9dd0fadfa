"""Encode and decode COCO's compressed run-length encoding (RLE) in numpy.

Runs of zeros and ones alternate in column-major order, zeros first. Each run is a base-32 number, lowest digit first,
one character per digit starting at "0"; bit 5 is set if another digit follows, bit 4 of the last digit is the sign.
From the fourth run on, a number is the difference to the run two before it (COCO API, `maskApi.c`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import UnreadableAnswer

MAX_DIGITS = 7  # 35 bits
FIRST_CHARACTER = 48  # "0"
CONTINUES = 0x20
SIGN = 0x10


def decode(counts: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode to a bool mask [H, W] of a size, equal to `pycocotools.mask.decode`."""
    height, width = size
    runs = runs_of(counts, size)
    pixels: NDArray[np.bool_] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(pixels.reshape(width, height).T)


def encode(mask: NDArray[np.bool_]) -> str:
    """Encode a bool mask [H, W] as compressed text."""
    return text_of(lengths_of(mask.ravel(order="F")))


def lengths_of(pixels: NDArray[np.bool_]) -> list[int]:
    """Lengths of runs of zeros and ones in turn, zeros first, of pixels [N]."""
    lengths: list[int] = np.diff(np.flatnonzero(np.diff(pixels, prepend=False)), prepend=0, append=pixels.size).tolist()
    return lengths


def text_of(runs: Sequence[int]) -> str:
    """Lengths of runs of zeros and ones in turn, zeros first, as compressed text."""
    characters = []
    for index, run in enumerate(runs):
        number = run if index < 3 else run - runs[index - 2]
        while True:
            digit, number = number & 0x1F, number >> 5
            # The last digit: the rest is the sign, held by bit 4.
            is_last = number == (-1 if digit & SIGN else 0)
            characters.append(chr(FIRST_CHARACTER + digit + (0 if is_last else CONTINUES)))
            if is_last:
                break
    return "".join(characters)


def runs_of(counts: str, size: tuple[int, int]) -> NDArray[np.int64]:
    """Lengths of the runs of a mask of a size, zeros and ones in turn, zeros first; errors as for `decode`."""
    height, width = size
    runs = _runs(counts)
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise UnreadableAnswer(f"the runs of a mask of {height} x {width} sum to {int(runs.sum())}")
    return runs


def extent_of(runs: NDArray[np.int64], height: int) -> tuple[int, tuple[int, int, int, int]]:
    """Area, and box as x, y, width, height, of a mask [H, W] by its runs; zeros where no pixel is set."""
    ends = np.cumsum(runs)[1::2]
    starts = ends - runs[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(ends):
        return 0, (0, 0, 0, 0)
    (left, top), (right, bottom) = np.divmod(starts, height), np.divmod(ends - 1, height)
    wraps = right > left
    x, y = int(left.min()), 0 if wraps.any() else int(top.min())
    last = height - 1 if wraps.any() else int(bottom.max())
    return int((ends - starts).sum()), (x, y, int(right.max()) - x + 1, last - y + 1)


def changes_across(runs: NDArray[np.int64], height: int) -> int:
    """The number of pixels of a mask that differ from the one to the left (outside: no pixel is set), by its runs."""
    edges = np.cumsum(runs)[: len(runs) // 2 * 2]
    both = np.sort(np.concatenate([edges, edges + height]))  # of the mask, and of it one column to the right
    return int((both[1::2] - both[::2]).sum())


def _runs(counts: str) -> NDArray[np.int64]:
    digits = np.frombuffer(counts.encode("utf-8"), np.uint8).astype(np.int64) - FIRST_CHARACTER
    if len(digits) == 0:
        return np.zeros(0, np.int64)
    is_last = (digits & CONTINUES) == 0
    if ((digits < 0) | (digits > 63)).any() or not is_last[-1]:
        raise UnreadableAnswer("expected RLE counts of characters '0' to 'o' that end with a complete number")
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_DIGITS:
        raise UnreadableAnswer(f"a run of a mask has {lengths.max()} digits, expected at most {MAX_DIGITS}")
    shift = 5 * (np.arange(len(digits)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((digits & 0x1F) << shift, starts)
    numbers -= np.where(digits[ends] & SIGN, np.int64(1) << (5 * lengths), 0)
    # Undo the differences to the run two before: one cumulative sum over odd runs, one over even runs.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
