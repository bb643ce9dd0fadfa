"""Labelme's JSON, one file beside each photograph; X-AnyLabeling and others write the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lexiseg_model.errors import DatasetError
from lexiseg_model.pictures.listing import pictures_in
from lexiseg_train.data.annotations.content import CocoFile, CocoImage, Id, not_read
from lexiseg_train.data.annotations.labelme_shapes import read_shapes
from lexiseg_train.data.annotations.photographs import is_file
from lexiseg_train.data.annotations.segmentation import checked_size


def is_labelme(path: Path) -> bool:
    """Whether a file is Labelme's JSON."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def read_labelme(files: Sequence[Path], folder: Path) -> CocoFile:
    """Read the files of a folder; images are named relative to it, and labels are the ids of their categories.

    Rectangles are boxes without an outline. A line or a point marks an object of unknown extent.

    Raises:
        DatasetError: a file states an impossible size of its photograph, or names none.
    """
    images, faults, n_shapes, n_boxes = [], list[str](), 0, 0
    for path in files:
        content = json.loads(path.read_bytes())
        try:
            size = checked_size(content.get("imageHeight"), content.get("imageWidth"))
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from None
        file_name = str(_photograph(path, str(content["imagePath"])).relative_to(folder))
        shapes = read_shapes(content["shapes"], size)
        n_shapes += len(content["shapes"])
        faults += [f"shape {number} of {path.name}: {reason}" for number, reason in shapes.faults]
        n_boxes += shapes.n_boxes
        images.append(CocoImage(file_name, size, shapes.annotations))
    categories = [each.category for image in images for each in image.annotations]
    names: dict[Id, str] = {category: str(category) for category in categories if category is not None}
    return CocoFile(names, images, 0, not_read(folder, n_shapes, faults, n_boxes))


def _photograph(path: Path, named: str) -> Path:
    """The photograph of a file: the one it names, else the one of its own name beside it."""
    place, parent = path.parent / named.replace("\\", "/"), path.parent.resolve()
    if is_file(place) and place.resolve().is_relative_to(parent):
        return path.parent / place.resolve().relative_to(parent)  # an absolute path, too
    return next((each for each in pictures_in(path.parent) if each.stem == path.stem), path.parent / Path(named).name)
