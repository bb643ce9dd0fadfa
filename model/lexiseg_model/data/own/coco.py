"""A user's photographs with COCO's JSON, as annotation tools export it, become index masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.annotations.coco import CocoAnnotation, CocoFile, Id, is_coco, read_coco_file
from lexiseg_model.data.annotations.photographs import Photographs
from lexiseg_model.data.indexed import BACKGROUND, IGNORE
from lexiseg_model.data.own.pictures import HELD_OUT, OwnPictures, Picture
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import decode

# Files and folders of validation and test splits; CVAT's subsets are Train, Validation, Test.
VALIDATION = re.compile(r"(instances_)?val(id(ation)?)?(\d+)?$", re.IGNORECASE)
TEST = re.compile(r"(instances_)?test(\d+)?$", re.IGNORECASE)
MAX_CLASSES = 254  # without the background and 255


def listings(folder: Path) -> list[Path]:
    """COCO files of a folder, of its `annotations` and of the folders of its splits."""
    places = (folder, folder / "annotations", *(folder / name for name in ("train", *HELD_OUT)))
    return [path for place in places for path in sorted(place.glob("*.json")) if is_coco(path)]


def read_coco(folder: Path, files: list[Path]) -> OwnPictures:
    """The photographs of COCO files; validation files or folders are held out, test files are left out.

    Categories without an annotation are no classes. Where masks overlap the smaller is above. Crowds, and boxes without
    an outline, are ignored.

    Raises:
        DatasetError: a file is damaged, has no usable annotation, or photographs are missing.
    """
    tests = [path for path in files if _is_split(TEST, path.relative_to(folder))]
    used_files = [path for path in files if path not in tests] or files
    contents = {path: read_coco_file(path) for path in used_files}
    warnings = [
        *(f"{path.relative_to(folder)} is a test split and is not used" for path in tests if path not in contents),
        *(warning for path, content in contents.items() for warning in _sentences(path, content)),
    ]
    classes = (BACKGROUND, *dict.fromkeys(name for content in contents.values() for name in _used_names(content)))
    if not 1 < len(classes) <= MAX_CLASSES + 1:
        more = "".join(f"\n  {warning}" for warning in warnings)
        raise DatasetError(
            f"{folder}: {len(classes) - 1} categories have annotations; expected 1 to {MAX_CLASSES}{more}"
        )
    train: list[Picture] = []
    held_out: list[Picture] = []
    for path, content in contents.items():
        is_held_out = _is_split(VALIDATION, path.relative_to(folder))
        (held_out if is_held_out else train).extend(_pictures_of(folder, path, content, classes))
    return OwnPictures(folder, classes, tuple(train), tuple(held_out), tuple(warnings))


def _is_split(split: re.Pattern[str], path: Path) -> bool:
    """Whether a file, by its path in the user's folder, or the folder around it has the name of a split."""
    return any(split.match(part) for part in (path.parent.name, path.stem))


def _used_names(content: CocoFile) -> list[str]:
    """Names of the categories that have annotations, in the order of the file."""
    used = {each.category for image in content.images for each in image.annotations}
    return [name for category, name in content.categories.items() if category in used and name != BACKGROUND]


def _sentences(path: Path, content: CocoFile) -> list[str]:
    """Sentences about annotations that are left out or ignored."""
    groups = f"{content.n_groups} annotations in {path} are crowds (iscrowd): their pixels are ignored"
    return [*content.warnings, *([groups] if content.n_groups else [])]


def _pictures_of(folder: Path, path: Path, content: CocoFile, classes: tuple[str, ...]) -> list[Picture]:
    """The photographs of one COCO file with their masks. Raises DatasetError: photographs are missing."""
    value_of = {category: classes.index(name) for category, name in content.categories.items() if name in classes}
    photographs = Photographs(path, folder)
    files = {image.file_name: photographs.find(image.file_name) for image in content.images}
    if missing := [name for name, file in files.items() if file is None]:
        raise DatasetError(
            f"{path}: {len(missing)} of {len(files)} photographs are missing, such as {missing[0]}; put "
            f"them anywhere in {folder}"
        )
    return [
        Picture(file, partial(_draw_mask, image.annotations, value_of, image.size))
        for image in content.images
        if (file := files[image.file_name]) is not None
    ]


def _draw_mask(
    annotations: Sequence[CocoAnnotation], value_of: dict[Id, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """[H, W] class indices of the annotations of one photograph; the smaller is above."""
    mask = np.zeros(size, np.uint8)
    drawn = [(decode(each.read(size)), each) for each in annotations]
    for shape, each in sorted(drawn, key=lambda entry: -int(entry[0].sum())):
        mask[shape] = IGNORE if each.ignored else value_of[each.category]
    return mask
