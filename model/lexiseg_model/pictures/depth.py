"""Depth: samples of more than 8 bits, signed or floating point, as 8 bits.

The header says the nominal range: 0 to 2^bits - 1 of unsigned samples, 0 to 1 of floating point ones. A picture that
uses less than a quarter of it holds fewer bits than its header says, and signed samples or larger floats have no
nominal range: such pictures are stretched by their own range, with a note.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.pictures.bands import bands
from lexiseg_model.pictures.note import GUESSED_DEPTH, Note

MIN_USED = 0.25  # of the nominal range, below which a picture holds fewer bits than its header says
WHITE = 255


def to_eight_bits(
    values: NDArray[Any], top: float | None, white_is_zero: bool = False
) -> tuple[NDArray[np.uint8], tuple[Note, ...]]:
    """Scale samples [H, W] or [H, W, C] to 0..255, with a note if they were stretched by the picture's own range.

    `top` is the largest nominal value, None if there is no nominal range; `white_is_zero`: large is dark. What is no
    number becomes the lowest value. In bands, which bounds the memory of intermediates.
    """
    low, high = _range(values)
    stretched = low < high and (top is None or low < 0 or not MIN_USED * top <= high <= top)
    if not stretched:
        low, high = 0.0, top or max(1.0, abs(high))
    scaled = np.empty(values.shape, np.uint8)
    for rows in bands(values.shape[:2]):
        if not stretched and values.dtype.kind == "u":
            scaled[rows] = values[rows] >> (round(math.log2(high + 1)) - 8)
            continue
        band = np.nan_to_num(values[rows].astype(np.float64), nan=low, posinf=high, neginf=low)
        # Equal parts of the range, as the upper 8 bits are.
        scaled[rows] = ((band - low) * ((WHITE + 1) / (high - low))).clip(0, WHITE)
    if white_is_zero:
        np.subtract(WHITE, scaled, out=scaled)
    return scaled, (_note(values.dtype, low, high),) if stretched else ()


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """The lowest and the highest finite value; (0, 0) if there is none."""
    if values.dtype.kind != "f":
        return float(values.min()), float(values.max())
    lows, highs = [], []
    for rows in bands(values.shape[:2]):
        finite = values[rows][np.isfinite(values[rows])]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    return min(lows, default=0.0), max(highs, default=0.0)


def _note(kind: np.dtype[Any], low: float, high: float) -> Note:
    text = (
        f"values of {low:,.6g} to {high:,.6g} ({kind.name}) were stretched to 0 to 255, as the file does not say which "
        "are black and white; send 8 bits to decide that yourself"
    )
    return Note(GUESSED_DEPTH, text)
