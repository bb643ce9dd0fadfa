"""YOLO's data sets: data.yaml or classes.txt, images, and a text file of polygons for each image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lexiseg_model.class_names import plain
from lexiseg_model.errors import DatasetError, PictureError
from lexiseg_model.file_names import as_text, visible_files
from lexiseg_model.pictures.formats import is_picture_name
from lexiseg_model.pictures.header import read_header
from lexiseg_train.data.annotations.content import CocoFile, CocoImage, Id, class_name, images_left_out, not_read
from lexiseg_train.data.annotations.segmentation import whole_number
from lexiseg_train.data.annotations.yolo_lines import read_line, unknown_of_line, without_rotated_boxes

LISTINGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASS_LIST = "classes.txt"  # of Label Studio and LabelImg


class Listing(NamedTuple):
    """Class names by number, None for any class; the folder or list of images of each split.

    Lines of `poses` are boxes and key points.
    """

    names: dict[Id, str | None]
    places: dict[str, Path]
    poses: bool


def yolo_listing(folder: Path) -> Path | None:
    """The file of class names of a folder in YOLO's layout; None: it has none."""
    listings = [folder / name for name in LISTINGS if (folder / name).is_file()]
    if not listings and (folder / CLASS_LIST).is_file() and (folder / "labels").is_dir():
        listings = [folder / CLASS_LIST]
    return listings[0] if listings else None


def read_yolo(listing: Path) -> dict[str, CocoFile]:
    """Read the splits `train` and `val`; images are named relative to the listing's folder.

    An image or a line that cannot be read is counted and named; pixels around such a line are unknown, and of an image
    in which its place is not known all that no other explains.

    Raises:
        DatasetError: the listing has no class names, or a split is not there.
    """
    listed = _read_listing(listing)
    splits = {split: _read_split(place, listing.parent, listed) for split, place in listed.places.items()}
    return without_rotated_boxes(splits)


def _read_split(place: Path, folder: Path, listed: Listing) -> CocoFile:
    """The images of a folder or list, named relative to `folder`."""
    images, unreadable, faults, n_lines, n_boxes = [], list[str](), list[str](), 0, 0
    for path in _pictures(place):
        try:
            image, of_image, boxes = _read_image(path, folder, listed)
        except DatasetError as error:
            unreadable.append(str(error))
            continue
        faults += of_image
        n_lines += len(image.annotations)
        n_boxes += boxes
        images.append(image)
    warnings = images_left_out(place, len(images) + len(unreadable), unreadable)
    names = {number: name for number, name in listed.names.items() if name is not None}
    return CocoFile(names, images, 0, warnings + not_read(place, n_lines, faults, n_boxes))


def _read_listing(listing: Path) -> Listing:
    try:
        text = listing.read_text(encoding="utf-8-sig")
        content: Any = yaml.safe_load(text) if listing.name != CLASS_LIST else {"names": text.split("\n")}
        listed = content["names"]
        pairs = listed.items() if isinstance(listed, dict) else enumerate(listed)
        names: dict[Id, str | None] = {
            whole_number(number): class_name(each) for number, each in pairs if plain(str(each))
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise DatasetError(f"{listing} has no class names, as YOLO's `names`: {error!r:.200}") from None
    if listing.name == CLASS_LIST:
        return Listing(names, {"train": listing.parent / "images"}, poses=False)
    entries = {"train": content.get("train"), "val": content.get("val") or content.get("valid")}
    root = str(content.get("path") or "")
    places = {split: _resolved(listing, root, entry) for split, entry in entries.items() if entry}
    return Listing(names, places, poses="kpt_shape" in content)


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


def _read_image(path: Path, folder: Path, listed: Listing) -> tuple[CocoImage, list[str], int]:
    """An image, why some of its annotations are unusable, and the number of boxes. Raises DatasetError: unreadable."""
    try:
        size = read_header(path.read_bytes()).size
    except (OSError, ValueError, PictureError) as error:  # a name may hold a NUL
        raise DatasetError(as_text(f"{path} cannot be read as an image: {error}")) from None
    root = folder.resolve()
    image = CocoImage(str(path.relative_to(root) if path.is_relative_to(root) else path), size, [])
    faults, n_boxes = list[str](), 0
    labels = _labels_of(path)
    lines = labels.read_text(encoding="utf-8-sig", errors="replace").split("\n") if labels.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            annotation = read_line(line, listed.names, size, listed.poses)
            n_boxes += annotation.ignored and annotation.category is not None
        except (DatasetError, ValueError) as error:
            faults.append(f"line {number} of {labels.name}: {error}")
            annotation = unknown_of_line(line, size, listed.poses)
        image.annotations.append(annotation)
    return image, faults, n_boxes


def _labels_of(path: Path) -> Path:
    """images/train/a.jpg -> labels/train/a.txt; without such a folder a.txt beside the image."""
    parts = [*path.with_suffix(".txt").parts]
    if "images" in parts[:-1]:
        place = len(parts) - 2 - parts[-2::-1].index("images")
        parts[place] = "labels"
    return Path(*parts)
