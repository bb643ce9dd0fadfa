"""COCO's JSON as annotation tools export it: polygons and run lengths become index masks.

Tools deviate from COCO. CVAT marks every painted mask as a crowd, and writes `attributes`, which COCO does not have.
Label Studio writes rectangles without an outline, and names of uploads with a prefix.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from math import ceil, floor
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import BACKGROUND, IGNORE
from lexiseg_model.data.outlines import read_segmentation
from lexiseg_model.data.own.pictures import HELD_OUT, OwnPictures, Picture
from lexiseg_model.errors import DatasetError, ShapeError
from lexiseg_model.masks.rle import decode

Annotation = Mapping[str, Any]
# Lists of a COCO file, and what every entry of them must have.
KEYS = {
    "images": {"id", "file_name", "height", "width"},
    "annotations": {"image_id", "category_id"},
    "categories": {"id", "name"},
}
# Files and folders of validation and test splits; CVAT's subsets are Train, Validation, Test.
VALIDATION = re.compile(r"(instances_)?val(id(ation)?)?(\d+)?$", re.IGNORECASE)
TEST = re.compile(r"(instances_)?test(\d+)?$", re.IGNORECASE)
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of Label Studio
MAX_CLASSES = 254  # without the background and 255


def listings(folder: Path) -> list[Path]:
    """COCO files of a folder, of its `annotations` and of the folders of its splits."""
    places = (folder, folder / "annotations", *(folder / name for name in ("train", *HELD_OUT)))
    return [path for place in places for path in sorted(place.glob("*.json")) if _is_coco(path)]


def read_coco(folder: Path, files: list[Path]) -> OwnPictures:
    """The photographs of COCO files; validation files or folders are held out, test files are left out.

    Categories without an annotation are no classes. Where masks overlap the smaller is above. Crowds, and boxes without
    an outline, are ignored.

    Raises:
        DatasetError: a file is damaged, or photographs are missing.
    """
    tests = [path for path in files if _is_split(TEST, path.relative_to(folder))]
    used_files = [path for path in files if path not in tests] or files
    contents = {path: _read_content(path) for path in used_files}
    used = {entry["category_id"] for content in contents.values() for entry in content["annotations"]}
    names = [
        str(category["name"])
        for content in contents.values()
        for category in content["categories"]
        if category["id"] in used and category["name"] != BACKGROUND
    ]
    classes = (BACKGROUND, *dict.fromkeys(names))
    if not 1 < len(classes) <= MAX_CLASSES + 1:
        raise DatasetError(f"{folder}: {len(classes) - 1} categories have annotations; expected 1 to {MAX_CLASSES}")
    train: list[Picture] = []
    held_out: list[Picture] = []
    for path, content in contents.items():
        is_held_out = _is_split(VALIDATION, path.relative_to(folder))
        (held_out if is_held_out else train).extend(_pictures_of(folder, path, content, classes))
    left = [f"{path.relative_to(folder)} is a test split and is not used" for path in tests if path not in contents]
    return OwnPictures(folder, classes, tuple(train), tuple(held_out), (*left, *_ignored(contents)))


def _read_content(path: Path) -> dict[str, Any]:
    """The lists of a COCO file. Raises DatasetError: an entry is incomplete."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name, keys in KEYS.items():
        for entry in content[name]:
            if lacking := keys - entry.keys():
                raise DatasetError(f"{path}: one of its {name} has no {min(lacking)}: {entry!r:.100}")
    return content


def _is_split(split: re.Pattern[str], path: Path) -> bool:
    """Whether a file, by its path in the user's folder, or the folder around it has the name of a split."""
    return any(split.match(part) for part in (path.parent.name, path.stem))


def _ignored(contents: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    """Sentences about ignored annotations."""
    entries = [entry for content in contents.values() for entry in content["annotations"]]
    kinds = {
        "boxes without an outline": sum(not entry.get("segmentation") for entry in entries),
        "crowds (iscrowd)": sum(_is_crowd(entry) for entry in entries),
    }
    return [
        f"{number} of {len(entries)} annotations are {kind}: their pixels are ignored"
        for kind, number in kinds.items()
        if number
    ]


def _is_crowd(entry: Annotation) -> bool:
    return bool(entry.get("iscrowd")) and "attributes" not in entry


def _pictures_of(folder: Path, path: Path, content: Mapping[str, Any], classes: tuple[str, ...]) -> list[Picture]:
    """The photographs of one COCO file with their masks. Raises DatasetError: photographs are missing."""
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    value_of = {category: classes.index(name) for category, name in names.items() if name in classes}
    by_image: dict[Any, list[Annotation]] = {}
    for entry in content["annotations"]:
        by_image.setdefault(entry["image_id"], []).append(entry)
    photographs = _Photographs(folder, path)
    pictures = []
    missing = []
    for image in content["images"]:
        name, size = str(image["file_name"]), (int(image["height"]), int(image["width"]))
        file = photographs.find(name)
        if file is None:
            missing.append(name)
        else:
            entries = tuple(by_image.get(image["id"], ()))
            pictures.append(
                Picture(file, partial(_draw_mask, f"{path}: an annotation of {name}", entries, value_of, size))
            )
    if missing:
        raise DatasetError(
            f"{path}: {len(missing)} of {len(content['images'])} photographs are missing, such as {missing[0]}; put "
            f"them anywhere in {folder}"
        )
    return pictures


def _draw_mask(
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
    """Rows and columns of all pixels that an annotation's box touches; empty without a box."""
    left, top, width, height = (float(side) for side in entry.get("bbox") or (0, 0, 0, 0))
    return slice(max(0, floor(top)), ceil(top + height)), slice(max(0, floor(left)), ceil(left + width))


def _is_coco(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.keys() >= KEYS.keys()


class _Photographs:
    """Find the photographs of a listing: beside it, in a folder of its split, or anywhere by a unique name."""

    def __init__(self, folder: Path, listing: Path) -> None:
        split = listing.stem.removeprefix("instances_")
        above = dict.fromkeys((listing.parent, folder))
        # CVAT: images/default, images/Train; COCO: train2017.
        self._places = [place / inside for place in above for inside in ("", "images", f"images/{split}", split)]
        self._folder = folder
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, named: str) -> Path | None:
        """The file of a name, path or URL; None if there is none or several."""
        path = unquote(urlsplit(named).path) if "://" in named else named.replace("\\", "/")
        for place in self._places:
            if not path.startswith("/") and (place / path).is_file():
                return place / path
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for each in self._folder.rglob("*"):
                if each.is_file():
                    self._by_name[each.name].append(each)
        name = PurePosixPath(path).name
        for each_name in (name, UPLOAD_PREFIX.sub("", name)):
            if len(alike := self._by_name.get(each_name, [])) == 1:
                return alike[0]
        return None
