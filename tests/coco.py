"""Masks of answers, read by pycocotools."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco


def decode(mask: dict[str, Any]) -> NDArray[np.bool_]:
    """[H, W] of `{"size": ..., "counts": ...}`."""
    with warnings.catch_warnings():
        # pycocotools has not heard of numpy 2's copy keyword.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        pixels: NDArray[np.uint8] = coco.decode({"size": mask["size"], "counts": mask["counts"]})
    return pixels.astype(bool)


def area(mask: dict[str, Any]) -> int:
    return int(coco.area({"size": mask["size"], "counts": mask["counts"]}))


def box(mask: dict[str, Any]) -> list[int]:
    """x, y, width, height."""
    return [int(side) for side in coco.toBbox({"size": mask["size"], "counts": mask["counts"]})]
