"""Preparation of a user's pictures for training: read, check, and write as an indexed data set.

All faults are reported at once, each with its file. Pictures are written upright and at a reduced size.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError
from lexiseg_model.file_names import fitting, on_one_line, visible_files
from lexiseg_train.data.alike import pixel_digest
from lexiseg_train.data.annotations.labelme import is_labelme, read_labelme
from lexiseg_train.data.annotations.yolo import read_yolo, yolo_listing
from lexiseg_train.data.indexed import (
    CLASSES,
    IGNORE,
    evenly_spread,
    one_value_warning,
    to_jpeg,
    write_classes,
    write_sample,
)
from lexiseg_train.data.own.coco import listings, read_coco
from lexiseg_train.data.own.drawn import Part, drawn_pictures
from lexiseg_train.data.own.pictures import OwnPictures, read_folders
from lexiseg_train.data.own.repeats import Looks, unite

ROOM = len("..jpg")  # bytes of a name around the stem, while it is written
MIN_PHOTOGRAPHS = 4
MIN_RECOMMENDED = 8  # photographs below which there is a warning
MAX_REPORTED = 8  # faults of a kind in a message
MAX_SEEN, MAX_HEAD = 100, 4096  # files, and bytes of each, that are looked at for a message
MAX_SHORT_SIDE = 512  # pixels; no method here uses more of a whole picture
LAYOUT = (
    "expected COCO's JSON (*.json with images, annotations and categories) beside its photographs (in Label Studio\n"
    "export as COCO, in CVAT as COCO 1.0), YOLO's data.yaml with images and labels, Labelme's JSON beside each\n"
    "photograph, or\n"
    "  classes.json        the class names; index = mask value\n"
    "  images/NAME.jpg     photographs\n"
    "  masks/NAME.png      8-bit masks of the same size, 255 = ignore\n"
    "or the last two in train/ and val/"
)


class Prepared(NamedTuple):
    """Names of the classes without the background, numbers of photographs by split, and warnings for the user."""

    classes: tuple[str, ...]
    photographs: dict[str, int]
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
    if (listing := yolo_listing(folder)) is not None:
        parts = read_yolo(listing)
        return drawn_pictures(folder, [Part(listing, part, split == "val") for split, part in parts.items()])
    if shapes := [path for path in visible_files(folder) if path.suffix == ".json" and is_labelme(path)]:
        return drawn_pictures(folder, [Part(folder / "*.json", read_labelme(shapes, folder), held_out=False)])
    beside = ("images", "masks") if not (folder / CLASSES).exists() else ("images",)  # YOLO has images, too
    if not any(all((folder / part / name).is_dir() for name in beside) for part in ("", "train")):
        raise DatasetError(f"{folder} has no pictures in a known layout{_of_a_tool(folder)}; {LAYOUT}")
    return read_folders(folder)


def _of_a_tool(folder: Path) -> str:
    """A word on annotations that a folder has in a format that is not read."""
    listed = [path for path in visible_files(folder) if path.suffix in (".xml", ".json")]
    for path in listed[:MAX_SEEN]:
        with path.open("rb") as file:
            head = file.read(MAX_HEAD)
        for words, name in ((b"<annotations>", "CVAT's XML"), (b"<annotation>", "VOC's XML of boxes")):
            if words in head:
                return f", and {path} is {name}, which is not read: export as COCO"
        if path.suffix == ".json":
            what = "a JSON of another format" if _is_whole(path) else "no whole JSON; it may be cut off"
            return f", and {path} is {what}: export as COCO"
    return ""


def _is_whole(path: Path) -> bool:
    """Whether a file is valid JSON."""
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True


def prepare(folder: Path, target: Path, limit: int | None = None) -> Prepared:
    """Check the pictures of a folder, and write `target/{train,val}/{images,masks}` and the class list.

    Of more than `limit` photographs an even selection is used. Equal ones are used once, for training if possible; what
    their masks contradict is unknown. The target appears when it is complete.

    Raises:
        DatasetError: as `read_own`; there are fewer than MIN_PHOTOGRAPHS; or photographs or masks cannot be read,
            differ in size, or hold undefined values: counts all and names some.
    """
    pictures = read_own(folder)
    if limit is not None:
        pictures = replace(pictures, train=tuple(evenly_spread(pictures.train, limit)))
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        prepared = _write(pictures, draft)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return prepared


def _write(pictures: OwnPictures, target: Path) -> Prepared:
    """Raises DatasetError as `prepare`."""
    faults: list[str] = []
    duplicates: list[str] = []
    unknown: list[str] = []
    masks: dict[str, Path] = {}  # written ones, by the digest of their photograph
    looks = Looks()
    present: set[int] = set()
    counts: dict[str, int] = {}
    for split, picture in [("train", each) for each in pictures.train] + [("val", each) for each in pictures.held_out]:
        try:
            image, mask = picture.read(len(pictures.classes))
        except DatasetError as error:
            faults.append(str(error))
            continue
        values = np.unique(mask).tolist()
        if values == [IGNORE]:
            unknown.append(picture.image.name)
            continue
        small = reduced(mask, cv2.INTER_NEAREST)
        if (digest := pixel_digest(image)) in masks:
            duplicates.append(picture.image.name)
            unite(masks[digest], small)
            continue
        present.update(values)
        looks.add(split, image)
        number = counts.get(split, 0)
        counts[split] = number + 1
        name = fitting(f"{number:05}-{on_one_line(picture.image.stem)}", ROOM)
        write_sample(target / split, name, to_jpeg(reduced(image)), small)
        masks[digest] = target / split / "masks" / f"{name}.png"
    if faults:
        are = "is" if len(faults) == 1 else "are"
        raise DatasetError(f"{len(faults)} of the pictures {are} faulty:\n  " + "\n  ".join(faults[:MAX_REPORTED]))
    if (n_train := counts.get("train", 0)) < MIN_PHOTOGRAPHS:
        raise DatasetError(f"expected at least {MIN_PHOTOGRAPHS} photographs, {pictures.folder} has {n_train}")
    write_classes(target, pictures.classes)
    warnings = [*pictures.warnings, *one_value_warning(pictures.folder.name, present, len(pictures.classes))]
    warnings += looks.write(target)
    if unknown:
        warnings.append(f"{len(unknown)} photographs, such as {unknown[0]}, have no known pixel and are left out")
    if duplicates:
        warnings.append(f"{len(duplicates)} photographs are duplicates, such as {duplicates[0]}: each is used once")
    if unused := [name for value, name in pictures.named.items() if value not in present]:
        warnings.append(f"no photograph shows {', '.join(unused)}: nothing is learned about it")
    if n_train < MIN_RECOMMENDED:
        warnings.append(f"{n_train} photographs are few; use twenty or more")
    return Prepared(tuple(pictures.named.values()), counts, tuple(warnings))


def reduced(pixels: NDArray[np.uint8], interpolation: int = cv2.INTER_AREA) -> NDArray[np.uint8]:
    """A photograph [H, W, 3] or a mask [H, W] with its shorter side at most `MAX_SHORT_SIDE`."""
    scale = MAX_SHORT_SIDE / min(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=interpolation).astype(pixels.dtype)
