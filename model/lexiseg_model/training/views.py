"""Where a crop lies on its photograph, and how it is coloured: numbers alone, drawn at random.

A matrix [2, 3] takes pixels of the photograph to pixels of the crop; a mirror has a negative scale. Nothing is rotated.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import IGNORE

MIRRORED = 0.5  # share of crops
ON_A_CLASS = 0.6  # share of crops that a class of the photograph is drawn for
SEEN_STEP = 8  # pixels of a mask between those that are looked at to find a class
ASPECT = 0.2  # of a window's sides: the logarithm of how far from square
MARGIN = 0.2  # of a window on each side, in which its centre is not
WHOLE = (-0.12, 0.05)  # logarithm of a whole picture's sides beside the photograph's
GRAY = 0.03  # share of crops without colours

Matrix = NDArray[np.float64]


class Colours(NamedTuple):
    """How a crop's colours change."""

    saturation: float
    contrast: float
    gain: NDArray[np.float64]  # [3]


def window_view(mask: NDArray[np.uint8], size: int, random: np.random.Generator, zoom: tuple[float, float]) -> Matrix:
    """A random window of a photograph, `zoom` times as wide as its shorter side, that becomes `size` pixels wide."""
    height, width = mask.shape
    side = min(height, width) * np.exp(random.uniform(*np.log(zoom)))
    aspect = np.exp(random.uniform(-ASPECT, ASPECT))
    window_h, window_w = side * aspect, side / aspect
    centre_y, centre_x = _centre(mask, random)
    top = centre_y - window_h * random.uniform(MARGIN, 1 - MARGIN)
    left = centre_x - window_w * random.uniform(MARGIN, 1 - MARGIN)
    top = np.clip(top, min(0.0, height - window_h), max(0.0, height - window_h))
    left = np.clip(left, min(0.0, width - window_w), max(0.0, width - window_w))
    return _matrix(top, left, window_h, window_w, size, random.random() < MIRRORED)


def whole_view(height: int, width: int, size: int, random: np.random.Generator) -> Matrix:
    """All of a photograph, squeezed into a square."""
    window_h, window_w = np.array([height, width]) * np.exp(random.uniform(*WHOLE, 2))
    top = random.uniform(min(0, height - window_h), max(0, height - window_h))
    left = random.uniform(min(0, width - window_w), max(0, width - window_w))
    return _matrix(top, left, window_h, window_w, size, random.random() < MIRRORED)


def labels_in(mask: NDArray[np.uint8], matrix: Matrix, size: int, stride: int) -> NDArray[np.uint8]:
    """[size/stride, size/stride]: the label under the middle of each cell, 255 outside of the photograph."""
    to_cells = (matrix - np.array([[0, 0, stride // 2], [0, 0, stride // 2]])) / stride
    cells = (size // stride, size // stride)
    return cv2.warpAffine(mask, to_cells, cells, flags=cv2.INTER_NEAREST, borderValue=(IGNORE,)).astype(np.uint8)


def random_colours(random: np.random.Generator) -> Colours:
    """Brightness, contrast, saturation and channel balance, each a little; rarely gray."""
    saturation = 0.0 if random.random() < GRAY else random.uniform(0.6, 1.4)
    gain = random.uniform(0.7, 1.35) * random.uniform(0.92, 1.08, 3)
    return Colours(saturation, random.uniform(0.75, 1.25), gain)


def _matrix(top: float, left: float, height: float, width: float, size: int, mirrored: bool) -> Matrix:
    scale_x, scale_y = size / width, size / height
    shift_x, shift_y = 0.5 * scale_x - 0.5 - left * scale_x, 0.5 * scale_y - 0.5 - top * scale_y
    if mirrored:
        scale_x, shift_x = -scale_x, size - 1 - shift_x
    return np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])


def _centre(mask: NDArray[np.uint8], random: np.random.Generator) -> tuple[float, float]:
    """A pixel of a randomly chosen class of the photograph, so that small classes are seen as often as large ones."""
    height, width = mask.shape
    some = mask[::SEEN_STEP, ::SEEN_STEP]
    present = np.unique(some)
    present = present[present != IGNORE]
    if len(present) and random.random() < ON_A_CLASS:
        rows, columns = np.nonzero(some == random.choice(present))
        chosen = random.integers(len(rows))
        return float(rows[chosen] * SEEN_STEP), float(columns[chosen] * SEEN_STEP)
    return random.uniform(0, height), random.uniform(0, width)
