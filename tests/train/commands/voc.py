"""VOC with real photographs, of which the middle is one class."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests import pictures
from tests.train.data import trees


def write_photographs(root: Path, labels: Mapping[str, int]) -> Path:
    """VOCdevkit/VOC2012 of photographs by name: a frame of void, a label of VOC by decree, the rest background."""
    shown = {name: pictures.small(name, 96) for name in labels}
    maps = {name: np.zeros((photograph.height, photograph.width), np.uint8) for name, photograph in shown.items()}
    for name, stored in maps.items():
        stored[20:70, 20:70] = labels[name]
        stored[:3] = 255
    trees.write_voc(root, maps)
    for name, photograph in shown.items():
        photograph.save(root / "VOCdevkit/VOC2012/JPEGImages" / f"{name}.jpg")
    return root
