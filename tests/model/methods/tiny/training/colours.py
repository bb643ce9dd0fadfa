"""A drawn data set with the colours of the stand-in: half of each image is a colour, half is black."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.model.stand_in import COLOURS

CLASSES = ("background", "red", "green", "blue")


def draw(root: Path) -> Path:
    """Writes `colours/train` under `root`; returns `root`."""
    images, masks = root / "colours" / "train" / "images", root / "colours" / "train" / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    (root / "colours" / "classes.json").write_text(json.dumps(CLASSES))
    for value, name in enumerate(CLASSES[1:], start=1):
        pixels, mask = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8)
        pixels[:, :8], mask[:, :8] = COLOURS[name], value
        Image.fromarray(pixels).save(images / f"{name}.png")
        Image.fromarray(mask).save(masks / f"{name}.png")
    return root
