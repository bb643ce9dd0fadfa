"""A drawn data set of balls and boxes on gray, in the indexed layout."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.train.data.own.made import save

CLASSES = ("background", "red ball", "blue box")
SIDE = 64


def draw(random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One image [64, 64, 3] with a ball, a box, both or none, and its mask [64, 64]."""
    image = random.integers(90, 130, (SIDE, SIDE, 3)).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    if random.random() < 0.7:
        centre_y, centre_x = random.uniform(12, SIDE - 12, 2)
        mask[(y - centre_y) ** 2 + (x - centre_x) ** 2 < random.uniform(8, 16) ** 2] = 1
    if random.random() < 0.7:
        top, left = random.integers(0, SIDE - 20, 2)
        mask[top : top + random.integers(12, 24), left : left + random.integers(12, 24)] = 2
    image[mask == 1] = (220, 30, 30)
    image[mask == 2] = (30, 30, 220)
    return image, mask


def write_shapes(root: Path, count: int = 12, split: str = "train") -> Path:
    """Writes `root/shapes/SPLIT`; returns `root`."""
    random = np.random.default_rng(0)
    for index in range(count):
        save(root / "shapes" / split, f"{index:03}", *draw(random), quality=95)
    (root / "shapes" / "classes.json").write_text(json.dumps(CLASSES))
    return root
