"""COCO's instances JSON, as annotation tools export it: polygons and run lengths become index masks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import BACKGROUND, IGNORE
from lexiseg_model.data.outlines.coco_masks import read_segmentation
from lexiseg_model.data.own.folders import HELD_OUT
from lexiseg_model.data.own.pictures import OwnPictures, Picture
from lexiseg_model.errors import DatasetError, ShapeError
from lexiseg_model.masks.rle import decode

Annotation = Mapping[str, Any]
PARTS = ("images", "annotations", "categories")
VALIDATION = r"(instances_)?val(id(ation)?)?(\d+)?$"  # names of files and folders of what is held out
MOST_CLASSES = 254  # beside the background and 255


def listings(folder: Path) -> list[Path]:
    """COCO files of a folder, of its `annotations` and of the folders of its splits."""
    places = (folder, folder / "annotations", *(folder / name for name in ("train", *HELD_OUT)))
    return [path for place in places for path in sorted(place.glob("*.json")) if _is_coco(path)]


def read_coco(folder: Path, files: list[Path]) -> OwnPictures:
    """The photographs of COCO files; those of files or folders named after validation are held out.

    Categories without an annotation are no classes. Where masks overlap the smaller lies above; a crowd counts nowhere.

    Raises:
        DatasetError: a file is damaged, or photographs are not where it says.
    """
    contents = {path: _content(path) for path in files}
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
        apart = any(re.match(VALIDATION, part) for part in (path.parent.name, path.stem))
        (held_out if apart else train).extend(_pictures(folder, path, content, classes))
    return OwnPictures(folder, classes, tuple(train), tuple(held_out))


def _pictures(folder: Path, path: Path, content: Mapping[str, Any], classes: tuple[str, ...]) -> list[Picture]:
    value_of = {
        category["id"]: classes.index(category["name"])
        for category in content["categories"]
        if category["name"] in classes
    }
    by_image: dict[Any, list[Annotation]] = {}
    for entry in content["annotations"]:
        by_image.setdefault(entry["image_id"], []).append(entry)
    pictures = []
    missing = []
    for image in content["images"]:
        name, size = str(image["file_name"]), (int(image["height"]), int(image["width"]))
        places = (path.parent / name, path.parent / "images" / name, folder / name, folder / "images" / name)
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            missing.append(name)
        else:
            entries = tuple(by_image.get(image["id"], ()))
            pictures.append(Picture(file, partial(_draw, path, entries, value_of, size)))
    if missing:
        raise DatasetError(
            f"{path}: {len(missing)} of {len(content['images'])} photographs are not there, as {missing[0]}"
        )
    return pictures


def _draw(
    path: Path, entries: tuple[Annotation, ...], value_of: dict[Any, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """[H, W] class indices of the annotations of one photograph."""
    mask = np.zeros(size, np.uint8)
    try:
        drawn = [
            (decode(read_segmentation(entry["segmentation"], size)), entry)
            for entry in entries
            if entry.get("segmentation")
        ]
        for shape, entry in sorted(drawn, key=lambda each: -int(each[0].sum())):
            mask[shape] = IGNORE if entry.get("iscrowd") else value_of[entry["category_id"]]
    except (KeyError, TypeError, ValueError, ShapeError, DatasetError) as error:
        raise DatasetError(f"{path}: an annotation cannot be drawn: {error!r}") from None
    return mask


def _is_coco(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and set(PARTS) <= content.keys()


def _content(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
