"""COCO's instances JSON, as annotation tools export it: polygons and run lengths become index masks.

What tools mean differs from what COCO means. CVAT writes every mask that was painted as a crowd, and `attributes` with
each annotation, which COCO has not; Label Studio writes rectangles without an outline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import BACKGROUND, IGNORE
from lexiseg_model.data.outlines.coco_masks import read_segmentation
from lexiseg_model.data.own.folders import HELD_OUT
from lexiseg_model.data.own.photographs import Photographs
from lexiseg_model.data.own.pictures import OwnPictures, Picture
from lexiseg_model.errors import DatasetError, ShapeError
from lexiseg_model.masks.rle import decode

Annotation = Mapping[str, Any]
PARTS = ("images", "annotations", "categories")
# Names of files and folders of what is held out, and of what is for later; CVAT's subsets are Train, Validation, Test.
VALIDATION = re.compile(r"(instances_)?val(id(ation)?)?(\d+)?$", re.IGNORECASE)
TEST = re.compile(r"(instances_)?test(\d+)?$", re.IGNORECASE)
MOST_CLASSES = 254  # beside the background and 255


def listings(folder: Path) -> list[Path]:
    """COCO files of a folder, of its `annotations` and of the folders of its splits."""
    places = (folder, folder / "annotations", *(folder / name for name in ("train", *HELD_OUT)))
    return [path for place in places for path in sorted(place.glob("*.json")) if _is_coco(path)]


def read_coco(folder: Path, files: list[Path]) -> OwnPictures:
    """The photographs of COCO files; those of files or folders named after validation are held out, after a test left.

    Categories without an annotation are no classes. Where masks overlap the smaller lies above. Crowds, and boxes
    without an outline, count nowhere.

    Raises:
        DatasetError: a file is damaged, or photographs are not where it says.
    """
    tests = [path for path in files if _is_of(TEST, path)]
    kept = [path for path in files if path not in tests] or files
    contents = {path: _content(path) for path in kept}
    used = {entry["category_id"] for content in contents.values() for entry in content["annotations"]}
    names = [
        str(category["name"])
        for content in contents.values()
        for category in content["categories"]
        if category["id"] in used and category["name"] != BACKGROUND
    ]
    classes = (BACKGROUND, *dict.fromkeys(names))
    if not 1 < len(classes) <= MOST_CLASSES + 1:
        raise DatasetError(f"{folder}: {len(classes) - 1} categories have annotations; expected 1 to {MOST_CLASSES}")
    train: list[Picture] = []
    held_out: list[Picture] = []
    for path, content in contents.items():
        (held_out if _is_of(VALIDATION, path) else train).extend(_pictures(folder, path, content, classes))
    left = [f"{path.relative_to(folder)} is a test split: it is left for you" for path in tests if path not in contents]
    return OwnPictures(folder, classes, tuple(train), tuple(held_out), (*left, *_uncounted(contents)))


def _is_of(split: re.Pattern[str], path: Path) -> bool:
    return any(split.match(part) for part in (path.parent.name, path.stem))


def _uncounted(contents: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    """Sentences about annotations whose pixels count nowhere."""
    entries = [entry for content in contents.values() for entry in content["annotations"]]
    boxes = sum(not entry.get("segmentation") for entry in entries)
    crowds = sum(_is_crowd(entry) for entry in entries)
    said = []
    if boxes:
        said.append(
            f"{boxes} of {len(entries)} annotations are boxes without an outline: what they hold counts nowhere"
        )
    if crowds:
        said.append(f"{crowds} of {len(entries)} annotations are crowds (iscrowd): what they cover counts nowhere")
    return said


def _is_crowd(entry: Annotation) -> bool:
    return bool(entry.get("iscrowd")) and "attributes" not in entry


def _pictures(folder: Path, path: Path, content: Mapping[str, Any], classes: tuple[str, ...]) -> list[Picture]:
    value_of = {
        category["id"]: classes.index(category["name"])
        for category in content["categories"]
        if category["name"] in classes
    }
    by_image: dict[Any, list[Annotation]] = {}
    for entry in content["annotations"]:
        by_image.setdefault(entry["image_id"], []).append(entry)
    photographs = Photographs(folder, path)
    pictures = []
    missing = []
    for image in content["images"]:
        name, size = str(image["file_name"]), (int(image["height"]), int(image["width"]))
        file = photographs.find(name)
        if file is None:
            missing.append(name)
        else:
            entries = tuple(by_image.get(image["id"], ()))
            pictures.append(Picture(file, partial(_draw, f"{path}: an annotation of {name}", entries, value_of, size)))
    if missing:
        raise DatasetError(
            f"{path}: {len(missing)} of {len(content['images'])} photographs are not there, as {missing[0]}; put them "
            f"anywhere in {folder}"
        )
    return pictures


def _draw(
    what: str, entries: tuple[Annotation, ...], value_of: dict[Any, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """[H, W] class indices of the annotations of one photograph."""
    mask = np.zeros(size, np.uint8)
    try:
        for entry in entries:
            if not entry.get("segmentation"):
                mask[_box(entry)] = IGNORE
        drawn = [
            (decode(read_segmentation(entry["segmentation"], size)), entry)
            for entry in entries
            if entry.get("segmentation")
        ]
        for shape, entry in sorted(drawn, key=lambda each: -int(each[0].sum())):
            mask[shape] = IGNORE if _is_crowd(entry) else value_of[entry["category_id"]]
    except (KeyError, TypeError, ValueError, ShapeError, DatasetError) as error:
        reason = f"{error} is missing, or no category of the file" if isinstance(error, KeyError) else error
        raise DatasetError(f"{what} cannot be drawn: {reason}") from None
    return mask


def _box(entry: Annotation) -> tuple[slice, slice]:
    """Rows and columns of an annotation's box, every pixel that it touches; none without a box."""
    left, top, width, height = (float(side) for side in entry.get("bbox") or (0, 0, 0, 0))
    rows, columns = (top, top + height), (left, left + width)
    return slice(max(0, floor(rows[0])), ceil(rows[1])), slice(max(0, floor(columns[0])), ceil(columns[1]))


def _is_coco(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and set(PARTS) <= content.keys()


def _content(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
