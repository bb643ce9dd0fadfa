"""YOLO's data sets: data.yaml or classes.txt, images, and their files of lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lexiseg_labels.annotations import ClassName, Id, Marks
from lexiseg_labels.formats import yolo
from lexiseg_labels.formats.marks import Drawing, Listed
from lexiseg_labels.masks.outlines import Size, whole_number
from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_train.data.annotations.listed import LabelFile, class_name, faults_of, read_listed
from lexiseg_train.data.files.documents import MAX_NAMES, MAX_PICTURES, read_text, read_yaml
from lexiseg_train.data.files.inside import SetFiles

ROTATED = "all polygons are rotated boxes (OBB) without an outline: their pixels are ignored"
NO_NAMES = " has no class names, as YOLO's `names`"
MAX_NAMED = 3  # places in a message


class Listing(NamedTuple):
    """Class names by number, None for any class; images by split; lines of `poses` are boxes and key points."""

    names: dict[Id, str | None]
    images: dict[str, list[Path]]
    warnings: tuple[str, ...] = ()
    poses: bool = False


def yolo_listing(files: SetFiles) -> Path | None:
    listings = [path for path in files.in_folder(".") if path.suffix.lower() in yolo.LISTINGS]
    # Others may be settings of a training.
    listings.sort(key=lambda path: (path.stem not in ("data", "dataset"), path.name))
    if stated := [path for path in listings if path.stem in ("data", "dataset") or _has_names(path)]:
        return stated[0]
    lists = [path for name in yolo.CLASS_LISTS if (path := files.file(name)) is not None]
    return lists[0] if lists and any(path.suffix == ".txt" for path in files.below("labels")) else None


def _has_names(path: Path) -> bool:
    try:
        content = read_yaml(path)
    except DatasetError:
        return False
    return isinstance(content, dict) and ("names" in content or "nc" in content)


def read_yolo(path: Path, files: SetFiles, labelled: Collection[Path] = ()) -> list[LabelFile]:
    """Read the splits `train` and `val` that the file of class names lists; what cannot be read is named and unknown.

    Where `labelled` photographs have labels by another layout, ones without a file of labels are passed over, too.
    """
    listing = _read_listing(path, files)
    parts = [_read_split(path, split, files, listing, labelled) for split in listing.images]
    if yolo.are_rotated_boxes([image for part in parts for image in part.images]):
        for part in parts:
            part.images[:] = [
                image._replace(annotations=[each._replace(ignored=True) for each in image.annotations])
                for image in part.images
            ]
        parts = [part._replace(warnings=(*part.warnings, ROTATED)) for part in parts]
    return [parts[0]._replace(warnings=listing.warnings + parts[0].warnings), *parts[1:]]


def _read_split(path: Path, split: str, files: SetFiles, listing: Listing, labelled: Collection[Path]) -> LabelFile:
    places = map(files.place_of, listing.images[split])
    own = {place: labels for place in places if (labels := _labels_of(place, files)) is not None or not labelled}
    sharing = Counter(own.values())
    images = (_listed_image(place, labels, sharing[labels], listing) for place, labels in own.items())
    part = read_listed(path, images, files, files.folder / split, labelled)
    names = {number: name for number, name in listing.names.items() if name is not None}
    bare = {place for place, labels in own.items() if labels is None}
    return part._replace(categories=names, held_out=split == "val", bare=bare)


def _listed_image(place: str, labels: Path | None, n_images: int, listing: Listing) -> Listed:
    """An image by its place in the set, with its file of labels, which `n_images` have."""
    lines, fault = list[str](), None
    try:
        lines = [] if labels is None else read_text(labels).split("\n")
    except DatasetError as error:
        fault = str(error)
    if labels is not None and n_images > 1:
        fault = f"{n_images} images have this file of labels"

    def read(size: Size, class_name: ClassName, drawing: Drawing) -> Marks:
        del class_name  # the listing's names are classes already
        return yolo.read_lines(lines, listing.names, size, listing.poses, drawing.is_blank)

    return Listed(place, None, None, read, fault=fault, file=f"{PurePosixPath(place).stem}.txt")


def _read_listing(path: Path, files: SetFiles) -> Listing:
    """What `data.yaml` states; `classes.txt` has a name a line, and images in folders of splits, or anywhere."""
    is_list = path.suffix == ".txt"
    content = {"names": read_text(path).splitlines()} if is_list else read_yaml(path)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}{NO_NAMES}")
    names, warnings = _stated_names(path, content, files)
    root = str(content.get("path") or "")
    images: dict[str, list[Path]] = {}
    missing: list[str] = []
    for split, (_, places) in yolo.SPLITS.items():
        with faults_of(path):
            entries = yolo.places_of(content, split)
        by_entry = [_images_at(entry, root, files) for entry in entries]
        missing += [entry for entry, paths in zip(entries, by_entry, strict=True) if paths is None]
        paths = [path for each in by_entry for path in each or ()]
        if not paths and (split == "train" or entries or is_list):
            found = (_pictures(files.below(each)) for each in (*places, *["."] * (is_list and split == "train")))
            paths = next(filter(None, found), [])
        if paths:
            images[split] = list(dict.fromkeys(paths))
    absent = "; ".join(f"there is no {entry!r:.100}" for entry in missing[:MAX_NAMED])
    where = f"as a folder or a list of images inside {files.folder}"
    if not images:
        raise DatasetError(as_text(f"{path}: {absent or 'there are no images'}, {where}"))
    sentences = (as_text(f"{path}: {absent}, {where}"),) if missing else ()
    return Listing(names, images, warnings + sentences, poses="kpt_shape" in content)


def _stated_names(path: Path, content: dict[Any, Any], files: SetFiles) -> tuple[dict[Id, str | None], tuple[str, ...]]:
    """Class names by number; of a listing that states only their number they are class_0, class_1 ..."""
    if "names" in content and content["names"] not in yolo.NOTHING:
        return _names(path, content["names"]), ()
    for name in yolo.CLASS_LISTS:
        if (listed := files.file(name)) is not None:
            return _names(listed, read_text(listed).splitlines()), ()
    try:
        count = whole_number(content.get("nc"))
    except ValueError:
        count = 0
    if not 0 < count <= MAX_NAMES:
        raise DatasetError(f"{path}{NO_NAMES}")
    sentence = f"{path} has no `names`: classes are called class_0 to class_{count - 1}; words are what a model learns"
    return {number: f"class_{number}" for number in range(count)}, (sentence,)


def _names(path: Path, listed: object) -> dict[Id, str | None]:
    with faults_of(path, NO_NAMES):
        return yolo.names_of(listed, class_name, MAX_NAMES)


def _images_at(entry: str, root: str, files: SetFiles) -> list[Path] | None:
    """The images of a folder of the set, or of a list of images in it; None: neither is there."""
    for place in dict.fromkeys((f"{root}/{entry}" if root and not entry.startswith("/") else entry, entry)):
        if (folder := files.find_folder(place)) is not None:
            return _pictures(files.below(folder))
        listed = files.find(place)
        if listed is not None and listed.suffix.lower() == ".txt":
            return _listed(listed, files)
    return None


def _pictures(paths: SetFiles | Sequence[Path]) -> list[Path]:
    return [path for path in paths if is_picture_name(path)]


def _listed(path: Path, files: SetFiles) -> list[Path]:
    """The images that a list names, a line each. Lines that are no names of pictures are passed over."""
    places = (files.place_of(path.parent), ".")
    lines = [line.strip() for line in read_text(path).split("\n") if is_picture_name(line.strip())]
    if len(lines) > MAX_PICTURES:
        raise DatasetError(f"{path} names {len(lines):,} images; expected at most {MAX_PICTURES:,}")
    # One that is missing keeps its name, and costs only itself when it is read.
    return [files.find(line, places) or files.folder / line.lstrip("/") for line in lines]


def lines_of_no_picture(files: SetFiles) -> list[Path]:
    """Files in folders of labels that no image of a set has."""
    used = {_labels_of(files.place_of(each), files) for each in files if is_picture_name(each)}
    texts = (each for each in files if each.suffix == ".txt" and "labels" in files.place_of(each).split("/"))
    of_labelimg = yolo.CLASS_LISTS[0]  # in any folder
    return [each for each in texts if each not in used and each.name != of_labelimg]


def _labels_of(place: str, files: SetFiles) -> Path | None:
    paths = map(files.file_like, yolo.labels_of(place))
    return next((path for path in paths if path is not None), None)
