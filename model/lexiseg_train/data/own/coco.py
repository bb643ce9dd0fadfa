"""A user's photographs with COCO's JSON, as annotation tools export it, become index masks."""

from __future__ import annotations

import re
from pathlib import Path

from lexiseg_train.data.annotations.coco import is_coco, read_coco_file
from lexiseg_train.data.own.drawn import Part, drawn_pictures
from lexiseg_train.data.own.pictures import HELD_OUT, OwnPictures

# Files and folders of validation and test splits; CVAT's subsets are Train, Validation, Test.
VALIDATION = re.compile(r"(instances_)?val(id(ation)?)?(\d+)?$", re.IGNORECASE)
TEST = re.compile(r"(instances_)?test(\d+)?$", re.IGNORECASE)


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
    unused = [path.relative_to(folder) for path in tests if path not in contents]
    warnings = [f"{path} is a test split and is not used" for path in unused]
    parts = [Part(path, each, _is_split(VALIDATION, path.relative_to(folder))) for path, each in contents.items()]
    return drawn_pictures(folder, parts, warnings)


def _is_split(split: re.Pattern[str], path: Path) -> bool:
    """Whether a file, by its path in the user's folder, or the folder around it has the name of a split."""
    return any(split.match(part) for part in (path.parent.name, path.stem))
