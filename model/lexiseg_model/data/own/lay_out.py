"""A user's pictures as an indexed data set, upright and small enough to be read a thousand times."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
from PIL import Image

from lexiseg_model.data.indexed import CLASSES
from lexiseg_model.data.own.check import Checked, check
from lexiseg_model.data.own.coco import listings, read_coco
from lexiseg_model.data.own.folders import read_folders
from lexiseg_model.data.own.pictures import OwnPictures
from lexiseg_model.errors import DatasetError

MIN_PHOTOGRAPHS = 4
LONGEST_SHORT_SIDE = 512  # pixels; no method here looks at more of a whole picture
LAYOUT = (
    "expected COCO's JSON (*.json with images, annotations and categories) beside its photographs (in Label Studio\n"
    "export as COCO, in CVAT as COCO 1.0; no other of their formats), or\n"
    "  classes.json        the class names; index = mask value\n"
    "  images/NAME.jpg     photographs\n"
    "  masks/NAME.png      8-bit masks of the same size, 255 = ignore\n"
    "or the last two in train/ and val/"
)


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
        raise DatasetError(f"{folder} has no pictures in a layout that is known; {LAYOUT}")
    return read_folders(folder)


def prepare(folder: Path, limit: int | None = None) -> tuple[OwnPictures, Checked]:
    """Reads and checks the pictures of a folder; of more than `limit` some are taken, evenly.

    Raises:
        DatasetError: as of `read_own` and `check`, or there are too few photographs to learn from and to measure on.
    """
    pictures = read_own(folder)
    if limit is not None and len(pictures.train) > limit:
        taken = [pictures.train[place * len(pictures.train) // limit] for place in range(limit)]
        pictures = replace(pictures, train=tuple(taken))
    checked = check(pictures)
    if len(checked.train) < MIN_PHOTOGRAPHS:
        raise DatasetError(f"expected at least {MIN_PHOTOGRAPHS} photographs, {folder} has {len(checked.train)}")
    return pictures, checked


def lay_out(pictures: OwnPictures, checked: Checked, target: Path) -> None:
    """Writes `target/{train,val}/{images,masks}` and the class list; the folder appears when all of it is there.

    Without photographs that the user keeps apart there is no `val`.
    """
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    parts = {"train": checked.train} | ({"val": checked.held_out} if checked.held_out else {})
    for part, entries in parts.items():
        for kind in ("images", "masks"):
            (fresh / part / kind).mkdir(parents=True)
        for number, entry in enumerate(entries):
            image, mask = entry.picture.read_image(), entry.picture.read_mask()
            scale = LONGEST_SHORT_SIDE / min(mask.shape)
            if scale < 1:
                size = (round(mask.shape[1] * scale), round(mask.shape[0] * scale))
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(image.dtype)
                mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(mask.dtype)
            name = f"{number:05}-{entry.picture.image.stem}"
            Image.fromarray(image).save(fresh / part / "images" / f"{name}.jpg", quality=95)
            Image.fromarray(mask).save(fresh / part / "masks" / f"{name}.png")
    (fresh / CLASSES).write_text(json.dumps(pictures.classes, ensure_ascii=False))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(fresh, target)
