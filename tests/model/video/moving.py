"""Squares of one colour that move over a blue scene, as frames of the model that knows colours."""

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.features import Features
from tests.model.stand_in import COLOURS, ColourSegmenter

HEIGHT, WIDTH = 40, 64
SIDE = 12

Mask = NDArray[np.bool_]
Corner = tuple[int, int]  # x, y of the upper left


def square(corner: Corner, side: int = SIDE) -> Mask:
    """[H, W] where it is."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    x, y = corner
    mask[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)] = True
    return mask


def scene(**squares: Corner) -> NDArray[np.uint8]:
    """[H, W, 3]: a blue scene with squares by their colour; later ones lie on top."""
    rgb = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    rgb[:] = COLOURS["blue"]
    for colour, corner in squares.items():
        rgb[square(corner)] = COLOURS[colour]
    return rgb


def features(segmenter: ColourSegmenter, **squares: Corner) -> Features:
    return segmenter.encode(scene(**squares))


def box(corner: Corner, side: int = SIDE) -> tuple[float, float, float, float]:
    x, y = corner
    return (float(x), float(y), float(x + side), float(y + side))


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))
