"""YOLO's data sets for segmentation: data.yaml or classes.txt, images, and a text file of polygons for each image.

A line is `CLASS x y x y ...` in shares of width and height; `CLASS x y width height` is a box without an outline.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lexiseg_model.class_names import plain
from lexiseg_model.errors import DatasetError, PictureError
from lexiseg_model.file_names import as_text, visible_files
from lexiseg_model.pictures.formats import is_picture_name
from lexiseg_model.pictures.header import read_header
from lexiseg_train.data.annotations.coco import CocoAnnotation, CocoFile, CocoImage, Id, images_left_out, left_out
from lexiseg_train.data.annotations.segmentation import box_outline, checked_box, checked_segmentation, whole_number

LISTINGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASS_LIST = "classes.txt"  # of Label Studio and LabelImg
BOX = 4  # numbers


def yolo_listing(folder: Path) -> Path | None:
    """The file of class names of a folder in YOLO's layout; None: it has none."""
    listings = [folder / name for name in LISTINGS if (folder / name).is_file()]
    if not listings and (folder / CLASS_LIST).is_file() and (folder / "labels").is_dir():
        listings = [folder / CLASS_LIST]
    return listings[0] if listings else None


def read_yolo(listing: Path) -> dict[str, CocoFile]:
    """Read the splits `train` and `val`; images are named relative to the listing's folder.

    An image or a line that cannot be read is left out, counted and named.

    Raises:
        DatasetError: the listing has no class names, or a split is not there.
    """
    names, places = _read_listing(listing)
    return {split: _read_split(place, listing.parent, names) for split, place in places.items()}


def _read_split(place: Path, folder: Path, names: dict[Id, str]) -> CocoFile:
    """The images of a folder or list, named relative to `folder`."""
    images, unreadable, faults, n_lines, n_boxes = [], list[str](), list[str](), 0, 0
    for path in _pictures(place):
        try:
            image, of_image = _read_image(path, folder, names)
        except DatasetError as error:
            unreadable.append(str(error))
            continue
        faults += of_image
        n_lines += len(of_image) + len(image.annotations)
        n_boxes += sum(each.ignored for each in image.annotations)
        images.append(image)
    warnings = images_left_out(place, len(images) + len(unreadable), unreadable)
    return CocoFile(names, images, 0, warnings + left_out(place, n_lines, faults, n_boxes))


def _read_listing(listing: Path) -> tuple[dict[Id, str], dict[str, Path]]:
    """Class names by number, and the folder or list of images of each split."""
    try:
        text = listing.read_text(encoding="utf-8-sig")
        content: Any = yaml.safe_load(text) if listing.name != CLASS_LIST else {"names": text.split("\n")}
        listed = content["names"]
        pairs = listed.items() if isinstance(listed, dict) else enumerate(listed)
        names: dict[Id, str] = {whole_number(number): name for number, each in pairs if (name := plain(str(each)))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise DatasetError(f"{listing} has no class names, as YOLO's `names`: {error!r:.200}") from None
    if listing.name == CLASS_LIST:
        return names, {"train": listing.parent / "images"}
    entries = {"train": content.get("train"), "val": content.get("val") or content.get("valid")}
    root = str(content.get("path") or "")
    return names, {split: _resolved(listing, root, entry) for split, entry in entries.items() if entry}


def _resolved(listing: Path, root: str, entry: object) -> Path:
    """The place of a split. Raises DatasetError: there is none."""
    stripped = str(entry).replace("\\", "/").removeprefix("./")
    while stripped.startswith("../"):  # Roboflow's data.yaml begins its paths above its folder
        stripped = stripped.removeprefix("../")
    for place in (listing.parent / root / str(entry), listing.parent / str(entry), listing.parent / stripped):
        if place.exists():
            return place.resolve()
    raise DatasetError(f"{listing}: there is no {entry!r:.100}, as a folder or a list of images below {listing.parent}")


def _pictures(place: Path) -> Iterator[Path]:
    """Images of a split: those of a folder, or of the lines of a file."""
    if place.is_dir():
        yield from filter(is_picture_name, visible_files(place))
        return
    for line in place.read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
        if line.strip():
            yield Path(os.path.abspath(place.parent / line.strip()))  # a link keeps the labels beside it


def _read_image(path: Path, folder: Path, names: dict[Id, str]) -> tuple[CocoImage, list[str]]:
    """An image with its usable annotations, and why others are not. Raises DatasetError: it cannot be read."""
    try:
        size = read_header(path.read_bytes()).size
    except (OSError, ValueError, PictureError) as error:  # a name may hold a NUL
        raise DatasetError(as_text(f"{path} cannot be read as an image: {error}")) from None
    root = folder.resolve()
    image = CocoImage(str(path.relative_to(root) if path.is_relative_to(root) else path), size, [])
    faults = []
    labels = _labels_of(path)
    lines = labels.read_text(encoding="utf-8-sig", errors="replace").split("\n") if labels.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            image.annotations.append(_annotation(line.split(), names, size))
        except (DatasetError, ValueError) as error:
            faults.append(f"line {number} of {labels.name}: {error}")
    return image, faults


def _labels_of(path: Path) -> Path:
    """images/train/a.jpg -> labels/train/a.txt; without such a folder a.txt beside the image."""
    parts = [*path.with_suffix(".txt").parts]
    if "images" in parts[:-1]:
        place = len(parts) - 2 - parts[-2::-1].index("images")
        parts[place] = "labels"
    return Path(*parts)


def _annotation(words: list[str], names: dict[Id, str], size: tuple[int, int]) -> CocoAnnotation:
    """Raises DatasetError, ValueError: the line is not YOLO's, or its numbers are no outline."""
    category = whole_number(float(words[0]))
    if category not in names:
        raise DatasetError(f"no class has the number {category}")
    height, width = size
    numbers = [float(word) * side for word, side in zip(words[1:], (width, height) * len(words), strict=False)]
    if len(numbers) == BOX:
        x, y, box_width, box_height = numbers
        box = checked_box([x - box_width / 2, y - box_height / 2, box_width, box_height])
        return CocoAnnotation(category, box_outline(box, size), True, None)
    return CocoAnnotation(category, checked_segmentation([numbers], size), False, None)
