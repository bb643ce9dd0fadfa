"""A data set of one cup: what an object is asked by is found there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture
def cups(tmp_path: Path, photographs: dict[str, NDArray[np.uint8]]) -> Path:
    """A folder with `cups/train`: a photograph twice, once with its cup as an object and once with none."""
    root, cup = tmp_path, photographs["coffee"]
    for kind in ("images", "masks"):
        (root / "cups" / "train" / kind).mkdir(parents=True)
    (root / "cups" / "classes.json").write_text(json.dumps(["background", "cup"]))
    labels = np.zeros(cup.shape[:2], np.uint8)
    labels[100:300, 200:400] = 1
    for name, mask in (("with", labels), ("without", np.zeros_like(labels))):
        Image.fromarray(cup).save(root / "cups" / "train" / "images" / f"{name}.jpg")
        Image.fromarray(mask).save(root / "cups" / "train" / "masks" / f"{name}.png")
    return root
