"""A drawn data set with the colours of the stand-in: half of each image is a colour, half is black."""

import json
from pathlib import Path

import numpy as np

from tests.model.stand_in import COLOURS
from tests.train.data.own.made import save

CLASSES = ("background", "red", "green", "blue")


def draw(root: Path) -> Path:
    """Writes `colours/train` under `root`; returns `root`."""
    for value, name in enumerate(CLASSES[1:], start=1):
        pixels, mask = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8)
        pixels[:, :8], mask[:, :8] = COLOURS[name], value
        save(root / "colours" / "train", name, pixels, mask, "png")
    (root / "colours" / "classes.json").write_text(json.dumps(CLASSES))
    return root
