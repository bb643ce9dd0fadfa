"""A folder of drawn photographs with captions: one coloured square each, named by its colour."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220), "yellow": (230, 220, 30)}


def write_pairs(folder: Path, n_pairs: int = 12, side: int = 64) -> Path:
    """`captions.json` and `images/` in the layout of a folder of pairs; two captions each."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    listing = {}
    for index in range(n_pairs):
        name, colour = list(COLOURS.items())[index % len(COLOURS)]
        image = random.integers(90, 140, (side, side, 3)).astype(np.uint8)
        top, left = random.integers(0, side // 2, 2)
        image[top : top + side // 2, left : left + side // 2] = colour
        Image.fromarray(image).save(folder / "images" / f"{index:03}.jpg", quality=95)
        listing[f"{index:03}"] = {"captions": [f"a {name} square", f"something {name} on grey"]}
    (folder / "captions.json").write_text(json.dumps(listing))
    return folder
