"""Photographs with their marks, as Labelme, CVAT, Label Studio, Datumaro and YOLO list them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import ParseError

from lexiseg_labels.annotations import AnnotatedImage, Id
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats import cvat, labelme
from lexiseg_labels.formats.marks import Listed
from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_train.data.annotations import drawing
from lexiseg_train.data.annotations.content import LabelFile, class_name, images_left_out, not_read
from lexiseg_train.data.annotations.photographs import Photographs
from lexiseg_train.data.files.documents import read_bytes, read_json
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.files.limits import MAX_ANNOTATIONS, MAX_XML_BYTES


def in_cvat(path: Path) -> Iterator[Listed]:
    """The photographs of CVAT's XML. Raises DatasetError: it is no XML, has a DTD, or is too large."""
    try:
        yield from cvat.pictures_of(read_bytes(path, MAX_XML_BYTES))
    except UnreadableLabels as error:
        raise DatasetError(f"{path}: {error}") from None
    except ParseError as error:
        raise DatasetError(f"{path} is not XML: {error}") from None


def in_labelme(paths: Sequence[Path], files: SetFiles) -> Iterator[Listed]:
    """The photographs of Labelme's files: the ones that they name, else of their own names in the same folder."""
    for path in paths:
        listed = labelme.picture_of(read_json(path), path.name)
        place = files.place_of(path.parent)
        named = files.find(listed.name, (place,)) if listed.name else None
        if named is None or not is_picture_name(named):
            alike = (each for each in files.in_folder(place) if each.stem == path.stem and is_picture_name(each))
            named = next(alike, None)
        yield listed._replace(name=(listed.name or path.stem) if named is None else files.place_of(named))


def read_listed(
    place: Path, listed: Iterable[Listed], files: SetFiles, listing: Path, labelled: Collection[Path] = ()
) -> LabelFile:
    """Read photographs with their marks; labels are the ids of their categories.

    Photographs that nobody has labelled, are missing, cannot be read or are of another size are left out, counted and
    named.

    Args:
        place: the file that lists them, or of several files what their folder shall be looked up by.
        listing: the file or folder that messages name.
        labelled: photographs that are passed over, since another layout has their labels.
    """
    images, unusable, faults, count, n_boxes, n_images = [], list[str](), list[str](), 0, 0, 0
    photographs = Photographs(place, files)
    for entry in listed:
        if labelled and photographs.find(photographs.place_of(entry)) in labelled:
            continue
        n_images += 1
        try:
            if entry.fault is not None:
                raise UnreadableLabels(entry.fault)
            name = photographs.place_of(entry)
            size = photographs.measured_size(name, entry.height, entry.width)
        except UnreadableLabels as error:
            unusable.append(as_text(f"{entry.file or 'image'}{': ' if entry.file else ' '}{entry.name:.200}: {error}"))
            continue
        marks = entry.read(size, class_name, drawing)
        count += marks.n_marks
        if count > MAX_ANNOTATIONS:
            raise DatasetError(f"{listing} has more than {MAX_ANNOTATIONS:,} annotations, the most that is read")
        faults += [f"{mark} of {entry.file or entry.name}: {reason}" for mark, reason in marks.faults]
        n_boxes += marks.n_boxes
        images.append(AnnotatedImage(name, size, marks.annotations, entry.reviewed))
    categories = [each.category for image in images for each in image.annotations]
    names: dict[Id, str] = {category: str(category) for category in categories if category is not None}
    warnings = images_left_out(listing, n_images, unusable) + photographs.size_warnings()
    warnings += not_read(listing, count, faults, n_boxes) if images else ()
    return LabelFile(place, names, images, warnings, tuple(unusable))
