"""A data set of one cup: what an object is asked by is found there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def write_cups(root: Path, cup: NDArray[np.uint8]) -> None:
    """`cups/train` under `root`: the photograph twice, once with its cup as an object and once with none."""
    for kind in ("images", "masks"):
        (root / "cups" / "train" / kind).mkdir(parents=True)
    (root / "cups" / "classes.json").write_text(json.dumps(["background", "cup"]))
    labels = np.zeros(cup.shape[:2], np.uint8)
    labels[100:300, 200:400] = 1
    for name, mask in (("with", labels), ("without", np.zeros_like(labels))):
        Image.fromarray(cup).save(root / "cups" / "train" / "images" / f"{name}.jpg")
        Image.fromarray(mask).save(root / "cups" / "train" / "masks" / f"{name}.png")
