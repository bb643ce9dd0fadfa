"""Small folders of pictures, in each layout."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.own.layouts import read_own

CLASSES = ["background", "cat", "dog"]


def noise(seed: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """A photograph [H, W, 3] unlike that of any other seed."""
    rough = np.random.default_rng(seed).integers(0, 255, (4, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.NEAREST))


def photo(path: Path, orientation: int = 1, seed: int = 0, size: tuple[int, int] = (24, 32)) -> Path:
    """A photograph [H, W] in a file, with its EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(seed, *size)).save(path, exif=exif)
    return path


def write(path: Path, content: object, encoding: str = "utf-8") -> Path:
    """A file of text, or of anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding)
    return path


def corners(ring: Sequence[float]) -> list[list[float]]:
    """The points of a polygon [x, y, x, y ...]."""
    return [[x, y] for x, y in zip(ring[::2], ring[1::2], strict=True)]


def read_at(folder: Path, *places: tuple[int, int]) -> list[str]:
    """What the only photograph of a set has at some pixels: a class, "background" or "unknown"."""
    own = read_own(folder)
    mask = own.train[0].read(len(own.classes)).mask
    names = {**dict(enumerate(own.classes)), IGNORE: "unknown"}
    return [names[int(mask[place])] for place in places]


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
