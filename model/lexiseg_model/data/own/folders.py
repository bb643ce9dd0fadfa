"""Photographs with index masks: `images/NAME.jpg`, `masks/NAME.png`, `classes.json`; in `train/` and `val/`, or not."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.data.indexed import BACKGROUND, CLASSES
from lexiseg_model.data.own.pictures import OwnPictures, Picture
from lexiseg_model.errors import DatasetError

TRAIN, HELD_OUT = "train", ("val", "valid", "validation")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
LIST_EXAMPLE = '["background", "cat", "dog"]'


def read_folders(folder: Path) -> OwnPictures:
    """Lists the photographs of a folder.

    Raises:
        DatasetError: there is no class list, or photographs without masks; the message names them.
    """
    classes = _classes(folder / CLASSES)
    parted = (folder / TRAIN / "images").is_dir()
    train = _pictures(folder / TRAIN if parted else folder)
    held_out = [
        picture for name in HELD_OUT if (folder / name / "images").is_dir() for picture in _pictures(folder / name)
    ]
    return OwnPictures(folder, classes, tuple(train), tuple(held_out))


def _classes(path: Path) -> tuple[str, ...]:
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"there is no {path}: a list of names, index = mask value, as {LIST_EXAMPLE}") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is not a list of names, as {LIST_EXAMPLE}: {error}") from None
    if not isinstance(classes, list) or not all(isinstance(name, str) and name.strip() for name in classes):
        raise DatasetError(f"{path}: expected a list of names, index = mask value, as {LIST_EXAMPLE}")
    if BACKGROUND in classes[1:] or len(set(classes)) < len(classes) or not set(classes) - {BACKGROUND}:
        raise DatasetError(f"{path}: expected distinct names, {BACKGROUND!r} first if at all, came {classes}")
    return tuple(classes)


def _pictures(folder: Path) -> list[Picture]:
    images = sorted(path for path in (folder / "images").iterdir() if path.suffix.lower() in SUFFIXES)
    masks = {image: folder / "masks" / f"{image.stem}.png" for image in images}
    missing = [image.name for image, mask in masks.items() if not mask.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(images)} photographs of {folder / 'images'} have no mask, as {missing[0]}: "
            f"expected {masks[folder / 'images' / missing[0]]}"
        )
    return [Picture(image, partial(_read_mask, mask)) for image, mask in masks.items()]


def _read_mask(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as picture:
            mode, values = picture.mode, np.asarray(picture)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as a mask: {error}") from None
    if values.dtype != np.uint8 or values.ndim != 2:
        raise DatasetError(f"{path} is {mode}, {values.dtype} {list(values.shape)}; expected one channel of 8 bits")
    return values
