"""A data set that needs no files: coloured shapes drawn on crops of packaged photographs, with exact masks."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_train.data.indexed import read_photograph

SHAPES = "drawn"  # the set's name
CLASSES = ("background", "red ball", "blue box", "green triangle")
COLOURS = ((210, 40, 40), (40, 60, 210), (40, 170, 60))
SIDE = 128  # pixels
COUNTS = {"train": 160, "val": 24}  # photographs


def write_drawn(data: Path) -> None:
    """Write DATA/drawn with its splits; it appears under that name when it is complete."""
    random = np.random.default_rng(0)
    photographs = _photographs()
    part = data / f".{SHAPES}.part"
    for split, count in COUNTS.items():
        for kind in ("images", "masks"):
            (part / split / kind).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, mask = _draw_picture(random, photographs)
            Image.fromarray(image).save(part / split / "images" / f"{index:03}.jpg", quality=92)
            Image.fromarray(mask).save(part / split / "masks" / f"{index:03}.png")
    (part / "classes.json").write_text(json.dumps(CLASSES))
    (part / "LICENCE").write_text(
        "Drawn by lexiseg, on photographs of scikit-learn (CC BY 2.0) where it is installed\n"
    )
    part.rename(data / SHAPES)


def _photographs() -> list[NDArray[np.uint8]]:
    package = find_spec("sklearn")  # only located: importing it takes a second
    if package is None or package.origin is None:
        return [np.random.default_rng(1).integers(70, 190, (2 * SIDE, 2 * SIDE, 3), np.uint8)]
    paths = sorted((Path(package.origin).parent / "datasets/images").glob("*.jpg"))
    return [read_photograph(path) for path in paths]


def _draw_picture(
    random: np.random.Generator, photographs: list[NDArray[np.uint8]]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A crop [SIDE, SIDE, 3] with up to one shape of each class, and its mask [SIDE, SIDE]."""
    photograph = photographs[random.integers(len(photographs))]
    top, left = (random.integers(0, extent - SIDE + 1) for extent in photograph.shape[:2])
    image = photograph[top : top + SIDE, left : left + SIDE].copy()
    mask = np.zeros((SIDE, SIDE), np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    for value, colour in enumerate(COLOURS, 1):
        if random.random() < 0.3:
            continue
        radius = random.uniform(14, 30)
        centre_y, centre_x = random.uniform(radius, SIDE - radius, 2)
        across, down = np.abs(x - centre_x), y - centre_y
        inside = (
            across**2 + down**2 < radius**2,
            np.maximum(across, np.abs(down)) < radius,
            (np.abs(down) < radius) & (across < (down + radius) / 2),
        )[value - 1]
        mask[inside] = value
        shade = random.integers(-25, 26, (SIDE, SIDE, 1))
        image[inside] = np.clip(np.array(colour) + shade, 0, 255)[inside]
    return image, mask
