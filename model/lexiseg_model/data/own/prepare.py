"""Preparation of a user's pictures for training: read, check, and write as an indexed data set.

All faults are reported at once, each with its file. Pictures are written upright and at a reduced size.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import CLASSES, IGNORE, to_jpeg, write_classes
from lexiseg_model.data.own.coco import listings, read_coco
from lexiseg_model.data.own.pictures import OwnPictures, Picture, digest_of, read_folders
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.png import to_png

MIN_PHOTOGRAPHS = 4
MIN_RECOMMENDED = 8  # photographs below which there is a warning
MAX_REPORTED = 8  # faults of a kind in a message
MAX_SHORT_SIDE = 512  # pixels; no method here uses more of a whole picture
LAYOUT = (
    "expected COCO's JSON (*.json with images, annotations and categories) beside its photographs (in Label Studio\n"
    "export as COCO, in CVAT as COCO 1.0; no other of their formats), or\n"
    "  classes.json        the class names; index = mask value\n"
    "  images/NAME.jpg     photographs\n"
    "  masks/NAME.png      8-bit masks of the same size, 255 = ignore\n"
    "or the last two in train/ and val/"
)


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that passed the checks, the digest of its pixels, and the values in its mask."""

    picture: Picture
    digest: str
    values: frozenset[int]


@dataclass(frozen=True)
class Checked:
    """Pictures without faults, and warnings for their user."""

    train: tuple[CheckedPicture, ...]
    held_out: tuple[CheckedPicture, ...]
    warnings: tuple[str, ...]


def read_own(folder: Path) -> OwnPictures:
    """The pictures of a folder in one of the layouts.

    Raises:
        DatasetError: it has none of them, or a part is missing.
    """
    if folder.suffix == ".zip" and folder.is_file():
        raise DatasetError(f"{folder} is packed: unpack it, and name the folder")
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; {LAYOUT}")
    files = listings(folder)
    if files:
        return read_coco(folder, files)
    beside = ("images", "masks") if not (folder / CLASSES).exists() else ("images",)  # YOLO has images, too
    if not any(all((folder / part / name).is_dir() for name in beside) for part in ("", "train")):
        raise DatasetError(f"{folder} has no pictures in a known layout; {LAYOUT}")
    return read_folders(folder)


def check(pictures: OwnPictures) -> Checked:
    """Read every photograph and mask once; duplicates are used once, for training if possible.

    Raises:
        DatasetError: photographs or masks cannot be read, differ in size, or hold undefined values; counts all and
            names some.
    """
    if not pictures.train:
        raise DatasetError(f"{pictures.folder}: there are no photographs to train on")
    faults: list[str] = []
    digests: set[str] = set()
    duplicates: list[str] = []
    parts: list[tuple[CheckedPicture, ...]] = []
    for part in (pictures.train, pictures.held_out):
        checked_pictures = []
        for picture in part:
            try:
                entry = _check_picture(picture, len(pictures.classes))
            except DatasetError as error:
                faults.append(str(error))
                continue
            if entry.digest in digests:
                duplicates.append(picture.image.name)
            else:
                digests.add(entry.digest)
                checked_pictures.append(entry)
        parts.append(tuple(checked_pictures))
    if faults:
        are = "is" if len(faults) == 1 else "are"
        raise DatasetError(f"{len(faults)} of the pictures {are} faulty:\n  " + "\n  ".join(faults[:MAX_REPORTED]))
    warnings = list(pictures.warnings)
    if duplicates:
        warnings.append(f"{len(duplicates)} photographs are duplicates, such as {duplicates[0]}: each is used once")
    present = frozenset().union(*(entry.values for part in parts for entry in part))
    unused_classes = [name for value, name in pictures.named.items() if value not in present]
    if unused_classes:
        warnings.append(f"no photograph shows {', '.join(unused_classes)}: nothing is learned about it")
    if len(parts[0]) < MIN_RECOMMENDED:
        warnings.append(f"{len(parts[0])} photographs are few; use twenty or more")
    return Checked(parts[0], parts[1], tuple(warnings))


def prepare(folder: Path, limit: int | None = None) -> tuple[OwnPictures, Checked]:
    """Read and check the pictures of a folder; of more than `limit` an even selection.

    Raises:
        DatasetError: as `read_own` and `check`, or there are fewer than MIN_PHOTOGRAPHS.
    """
    pictures = read_own(folder)
    if limit is not None and len(pictures.train) > limit:
        selection = [pictures.train[place * len(pictures.train) // limit] for place in range(limit)]
        pictures = replace(pictures, train=tuple(selection))
    checked = check(pictures)
    if len(checked.train) < MIN_PHOTOGRAPHS:
        raise DatasetError(f"expected at least {MIN_PHOTOGRAPHS} photographs, {folder} has {len(checked.train)}")
    return pictures, checked


def reduced(pixels: NDArray[np.uint8], interpolation: int = cv2.INTER_AREA) -> NDArray[np.uint8]:
    """A photograph [H, W, 3] or a mask [H, W] with its shorter side at most `MAX_SHORT_SIDE`."""
    scale = MAX_SHORT_SIDE / min(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=interpolation).astype(pixels.dtype)


def lay_out(pictures: OwnPictures, checked: Checked, target: Path) -> None:
    """Write `target/{train,val}/{images,masks}` and the class list; the folder appears when it is complete."""
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    parts = {"train": checked.train} | ({"val": checked.held_out} if checked.held_out else {})
    for part, entries in parts.items():
        for kind in ("images", "masks"):
            (draft / part / kind).mkdir(parents=True)
        for number, entry in enumerate(entries):
            image, mask = entry.picture.read_image(), entry.picture.read_mask()
            image, mask = reduced(image), reduced(mask, cv2.INTER_NEAREST)
            name = f"{number:05}-{entry.picture.image.stem}"
            (draft / part / "images" / f"{name}.jpg").write_bytes(to_jpeg(image))
            (draft / part / "masks" / f"{name}.png").write_bytes(to_png(mask))
    write_classes(draft, pictures.classes)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(draft, target)


def _check_picture(picture: Picture, n_classes: int) -> CheckedPicture:
    image, mask = picture.read_image(), picture.read_mask()
    if mask.shape != image.shape[:2]:
        height, width = image.shape[:2]
        raise DatasetError(f"{picture.image}: its mask is {mask.shape[1]} x {mask.shape[0]}, itself {width} x {height}")
    values = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256))
    beyond = [int(value) for value in values if n_classes <= value != IGNORE]
    if beyond:
        allowed = f"the list has 0 to {n_classes - 1}, {IGNORE} is ignored"
        raise DatasetError(f"{picture.image}: its mask holds {beyond[:MAX_REPORTED]}; {allowed}")
    return CheckedPicture(picture, digest_of(image), frozenset(values.tolist()) - {IGNORE})
