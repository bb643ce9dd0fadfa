"""Small folders of pictures, in each layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ["background", "cat", "dog"]


def noise(seed: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """A photograph [H, W, 3] unlike that of any other seed."""
    rough = np.random.default_rng(seed).integers(0, 255, (4, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.NEAREST))


def save(
    folder: Path, name: str, image: NDArray[np.uint8], mask: NDArray[np.generic], suffix: str = "jpg", **options: Any
) -> None:
    """A photograph with Pillow's options and its mask, under one name in the folders `images` and `masks`."""
    for kind, ending, pixels in (("images", suffix, image), ("masks", "png", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f"{name}.{ending}", **options)


def folders(root: Path, count: int = 8, classes: list[str] | None = None) -> Path:
    """Photographs of 32 x 24 pixels; the left half of every even one is a cat, of every odd one a dog."""
    for number in range(count):
        mask = np.zeros((24, 32), np.uint8)
        mask[:, :16] = 1 + number % 2
        save(root, f"{number}", noise(number), mask)
    (root / "classes.json").write_text(json.dumps(classes or CLASSES))
    return root


def coco(root: Path, annotations: list[dict[str, Any]], file: str = "annotations.json", images: int = 1) -> Path:
    """Photographs `N.jpg` of 32 x 24 pixels beside a COCO file with three categories."""
    root.mkdir(parents=True, exist_ok=True)
    listed = []
    for number in range(images):
        Image.fromarray(noise(number)).save((root / file).parent / f"{number}.jpg")
        listed.append({"id": number, "file_name": f"{number}.jpg", "width": 32, "height": 24})
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 9, "name": "unused"}]
    (root / file).write_text(json.dumps({"images": listed, "annotations": annotations, "categories": categories}))
    return root
