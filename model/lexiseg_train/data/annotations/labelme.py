"""Labelme's JSON, one file beside each photograph; `labelme_reading` of the labels reads its shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lexiseg_labels.annotations import AnnotatedImage, Id
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.labelme_reading import document, read_shapes
from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.files.names import as_text
from lexiseg_train.data.annotations import drawing
from lexiseg_train.data.annotations.content import CocoFile, class_name, images_left_out, not_read
from lexiseg_train.data.annotations.photographs import Photographs
from lexiseg_train.data.annotations.sizes import MeasuredSizes
from lexiseg_train.data.files.documents import is_json_of, read_json
from lexiseg_train.data.files.inside import SetFiles


def is_labelme(path: Path) -> bool:
    """Whether a file is Labelme's JSON."""
    return is_json_of(path, ["shapes"], document)


def read_labelme(listings: Sequence[Path], files: SetFiles) -> CocoFile:
    """Read the files of a set; images are named by their paths in it, and labels are the ids of their categories.

    Rectangles are boxes without an outline. A line or a point marks an object of unknown extent. Files whose photograph
    is missing, cannot be read or is of another size are left out, counted and named.
    """
    images, unusable, faults, n_shapes, n_boxes = [], list[str](), list[str](), 0, 0
    measured = MeasuredSizes(Photographs(files.folder / "*.json", files))
    for path in listings:
        stated = document(read_json(path))
        photograph = _photograph(path, stated.image_path, files)
        try:
            size = measured(photograph, stated.height, stated.width)
        except UnreadableLabels as error:
            unusable.append(as_text(f"{path.name}: {photograph}: {error}"))
            continue
        shapes = read_shapes(stated.shapes, size, class_name, drawing)
        n_shapes += len(stated.shapes)
        faults += [f"shape {number} of {path.name}: {reason}" for number, reason in shapes.faults]
        n_boxes += shapes.n_boxes
        images.append(AnnotatedImage(photograph, size, shapes.annotations))
    categories = [each.category for image in images for each in image.annotations]
    names: dict[Id, str] = {category: str(category) for category in categories if category is not None}
    warnings = images_left_out(files.folder, len(listings), unusable) + measured.warnings()
    warnings += not_read(files.folder, n_shapes, faults, n_boxes)
    return CocoFile(names, images, 0, warnings, tuple(unusable))


def _photograph(path: Path, named: object, files: SetFiles) -> str:
    """The photograph of a file, by its path in the set: the one it names, else the one of its own name beside it."""
    place = files.place_of(path.parent)
    if isinstance(named, str) and (file := files.find(named, (place,))) is not None and is_picture_name(file):
        return files.place_of(file)
    beside = (each for each in files.in_folder(place) if each.stem == path.stem and is_picture_name(each))
    return next((files.place_of(each) for each in beside), str(named or path.stem))
