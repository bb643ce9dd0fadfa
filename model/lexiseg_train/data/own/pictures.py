"""A user's pictures with masks, read from folders.

A folder has `classes.json`, `images/NAME.jpg` and `masks/NAME.png`; the last two perhaps in `train/` and `val/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.class_names import BACKGROUND
from lexiseg_model.errors import DatasetError
from lexiseg_model.pictures.listing import pictures_in
from lexiseg_train.data.indexed import (
    CLASSES,
    IGNORE,
    Reading,
    Sample,
    fitting,
    read_classes,
    read_photograph,
)

TRAIN, HELD_OUT = "train", ("val", "valid", "validation")
EXAMPLE_LIST = '["background", "cat", "dog"]'

MaskReader = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Picture:
    """One photograph; `read_mask` gives [H, W] class indices, 255 = ignore, of the upright photograph."""

    image: Path
    read_mask: MaskReader

    def read(self, n_classes: int = IGNORE) -> Reading:
        """The upright photograph and its mask, checked as `Sample.read`."""
        image = read_photograph(self.image)
        return Reading(image, fitting(self.image, self.read_mask(), image.shape[:2], n_classes))


@dataclass(frozen=True)
class OwnPictures:
    """The pictures of a folder."""

    folder: Path
    classes: tuple[str, ...]  # `classes[v]` is the class of mask value v
    train: tuple[Picture, ...]
    held_out: tuple[Picture, ...]  # kept by the user for validation
    warnings: tuple[str, ...] = ()  # sentences about what was left out

    @property
    def named(self) -> dict[int, str]:
        """Classes without the background by mask value."""
        return {value: name for value, name in enumerate(self.classes) if name != BACKGROUND}


def read_folders(folder: Path) -> OwnPictures:
    """List the photographs of a folder. Raises DatasetError: there is no class list, or photographs have no masks."""
    classes = _read_distinct_classes(folder / CLASSES)
    train = _list_pictures(folder / TRAIN if (folder / TRAIN / "images").is_dir() else folder)
    held_out = [
        picture for name in HELD_OUT if (folder / name / "images").is_dir() for picture in _list_pictures(folder / name)
    ]
    return OwnPictures(folder, classes, tuple(train), tuple(held_out))


def _read_distinct_classes(path: Path) -> tuple[str, ...]:
    if not path.exists():
        raise DatasetError(f"there is no {path}: a list of names, index = mask value, such as {EXAMPLE_LIST}")
    classes = read_classes(path)
    if len(set(classes)) < len(classes) or not set(classes) - {BACKGROUND}:
        raise DatasetError(f"{path}: expected distinct names, such as {EXAMPLE_LIST}, got {classes}")
    return classes


def _list_pictures(folder: Path) -> list[Picture]:
    """The photographs of a folder's `images` with masks of its `masks`. Raises DatasetError: masks are missing."""
    images = pictures_in(folder / "images")
    masks = {image: folder / "masks" / f"{image.stem}.png" for image in images}
    missing = [image.name for image, mask in masks.items() if not mask.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(images)} photographs of {folder / 'images'} have no mask, such as {missing[0]}: "
            f"expected {masks[folder / 'images' / missing[0]]}"
        )
    return [Picture(image, Sample(image, mask).read_mask) for image, mask in masks.items()]
