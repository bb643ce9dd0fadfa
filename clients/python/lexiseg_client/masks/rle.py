"""COCO's compressed run lengths, read with numpy alone.

Runs of zeros and ones alternate down the columns, zeros first. In the text each run is a number of base 32, lowest
digit first, one character a digit from "0" on; bit 5 says that another digit follows, bit 4 of the last digit is the
sign. From the fourth run on a number is the difference to the run two before it (COCO API, `maskApi.c`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.errors import UnreadableAnswer

MAX_DIGITS = 7  # 35 bits: a run of any image that fits in memory
FIRST_CHARACTER = 48  # "0"
CONTINUES = 0x20
SIGN = 0x10


def decode(counts: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask [H, W] of run lengths, equal to `pycocotools.mask.decode`.

    Args:
        counts: the compressed text.
        size: height, width.

    Raises:
        UnreadableAnswer: the text is none, or its runs do not fill the size.
    """
    height, width = size
    runs = _runs(counts)
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise UnreadableAnswer(f"the runs of a mask of {height} x {width} sum to {int(runs.sum())}")
    pixels: NDArray[np.bool_] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(pixels.reshape(width, height).T)


def encode(mask: NDArray[np.bool_]) -> str:
    """The compressed text of a mask [H, W], what `decode` reads."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    text = []
    for place, run in enumerate(runs):
        number = run if place < 3 else run - runs[place - 2]
        while True:
            digit, number = number & 0x1F, number >> 5
            # Done when all that is left is the sign, which the last digit's bit 4 says.
            done = number == (-1 if digit & SIGN else 0)
            text.append(chr(FIRST_CHARACTER + digit + (0 if done else CONTINUES)))
            if done:
                break
    return "".join(text)


def _runs(counts: str) -> NDArray[np.int64]:
    digits = np.frombuffer(counts.encode("utf-8"), np.uint8).astype(np.int64) - FIRST_CHARACTER
    if len(digits) == 0:
        return np.zeros(0, np.int64)
    last = (digits & CONTINUES) == 0
    if ((digits < 0) | (digits > 63)).any() or not last[-1]:
        raise UnreadableAnswer("the counts of a mask are characters from '0' to 'o', and end with a whole number")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_DIGITS:
        raise UnreadableAnswer(f"a run of a mask has {lengths.max()} digits, more than {MAX_DIGITS}")
    place = 5 * (np.arange(len(digits)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((digits & 0x1F) << place, starts)
    numbers -= np.where(digits[ends] & SIGN, np.int64(1) << (5 * lengths), 0)
    # Differences to the run two before: two sums of their own, one along the odd places and one along the even ones.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
