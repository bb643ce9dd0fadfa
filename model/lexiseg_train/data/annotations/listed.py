"""What files of annotations hold, whatever the format: photographs with their marks, and sentences about the rest.

A photograph lies next to the file that names it, in a folder of its split, or anywhere below.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote
from xml.etree.ElementTree import ParseError

from lexiseg_labels.annotations import AnnotatedImage, Id
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats import cvat, labelme
from lexiseg_labels.formats.marks import Listed
from lexiseg_labels.masks.outlines import Size, checked_size
from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.errors import DatasetError, PictureError
from lexiseg_model.files.names import as_text
from lexiseg_model.pictures.header import read_header
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded, plain
from lexiseg_train.data.annotations import drawing
from lexiseg_train.data.files.documents import MAX_ANNOTATIONS, MAX_XML_BYTES, read_bytes, read_json
from lexiseg_train.data.files.inside import SetFiles, picture_bytes

UPLOAD_PREFIX = re.compile(r"^(.*/)?[0-9a-f]{8}-(?=[^/]*$)")  # of Label Studio
ADDRESS = re.compile(r"[^/?#:]+://[^/?#]*(?P<path>[^?#]*)")  # RFC 3986, B; a listing may hold malformed ones
FOLDERS = ("images", "data")  # of most tools; of FiftyOne
BESIDE = ("annotations", "labels")  # folders of listings with photographs in the folder above
TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations by which width and height change places
MAX_NAMED = 5  # images or annotations in a warning
UNKNOWN_LABEL = "__ignore__"  # of Labelme
BACKGROUND_LABELS = (BACKGROUND, "_background_", "__background__", "bg")  # the second is Labelme's


def stated_size(name: str, height: object, width: object) -> Size:
    """(H, W) as a listing states it, for photographs that are not looked at."""
    del name
    return checked_size(height, width)


def photographs_beside(listing: Path) -> Path:
    """Folder of the photographs of `annotations/NAME_train2017.json`: `train2017` next to `annotations`, or its own."""
    beside = listing.parent.parent / listing.stem.rpartition("_")[2]
    return beside if beside.is_dir() else listing.parent


class Photographs:
    """The photographs of one listing, below a folder; a name that leads out of it is looked for inside."""

    def __init__(self, listing: Path, folder: Path | SetFiles | None = None) -> None:
        """Without a folder it is the listing's, or the one above where that holds only listings."""
        self._listing = listing
        self._turned: list[str] = []  # with a size as stored, before EXIF's rotation
        self.measured: dict[str, Path] = {}  # photographs by the names of `measured_size`
        parent, beside = listing.parent, photographs_beside(listing)
        apart = parent.name in BESIDE or beside != parent
        self._files = folder if isinstance(folder, SetFiles) else None
        self.folder = folder.folder if isinstance(folder, SetFiles) else folder or (parent.parent if apart else parent)
        split = listing.stem.removeprefix("instances_")
        names = ("", *FOLDERS, *(f"{kind}/{split}" for kind in FOLDERS), split)  # CVAT: images/Train; COCO: train2017
        around = [parent.parent] if parent.name in BESIDE else []
        bases = [
            place.relative_to(self.folder).as_posix()
            for place in (parent, *around, beside)
            if place.is_relative_to(self.folder)
        ]
        self._places = [posixpath.normpath(f"{base}/{name}") for base in dict.fromkeys((*bases, ".")) for name in names]

    @cached_property
    def files(self) -> SetFiles:
        return self._files or SetFiles(self.folder)

    def find_all(self, names: Sequence[str]) -> list[Path]:
        """The files of names, in order. Raises DatasetError: some are missing."""
        files = {name: self.find(name) for name in names}
        if missing := [name for name, file in files.items() if file is None]:
            raise DatasetError(
                as_text(
                    f"{self._listing}: {len(missing)} of {len(files)} photographs are missing, such as "
                    f"{missing[0]:.200}; put them anywhere in {self.folder}"
                )
            )
        return [file for name in names if (file := files[name]) is not None]

    def find(self, named: str) -> Path | None:
        """The file of a name, path or URL; None if there is none or several."""
        address = ADDRESS.match(named)
        path = named if address is None else unquote(address["path"])
        names = [path, UPLOAD_PREFIX.sub(r"\1", path)]
        names += [] if is_picture_name(path) else [f"{path}.png"]  # CVAT's names of frames have no suffix
        for each in dict.fromkeys(names):
            if (file := self.files.find(each, self._places)) is not None:
                return file
        return None

    def place_of(self, entry: Listed) -> str:
        """The name by which the picture that a file lists is found: its own, or that of a video's frame."""
        near = (self.files.file_like(posixpath.normpath(f"{place}/{entry.name}")) for place in self._places)
        video = None if entry.video is None or any(near) else self.find(entry.video)
        return entry.name if video is None else f"{self.files.place_of(video)}/{entry.name}"

    def measured_size(self, name: str, height: object, width: object) -> Size:
        """(H, W) of the upright photograph of a name; tools may state it as stored, before EXIF's rotation."""
        path = self.find(name)
        if path is None:
            raise UnreadableLabels("there is no such file in the data set, or several of its name")
        try:
            header = read_header(picture_bytes(path))
        except OSError as error:
            raise UnreadableLabels(f"cannot be read: {error.strerror}") from None
        except PictureError as error:
            raise UnreadableLabels(f"cannot be read as an image: {error}") from None
        size = checked_size(*header.size)
        self.measured[name] = path
        try:
            stated = checked_size(height, width)
        except UnreadableLabels:  # not stated, or 0 x 0 as FiftyOne writes without metadata
            return size
        if stated == size:
            return size
        if stated == size[::-1] and header.orientation in TRANSPOSED:
            self._turned.append(name)
            return size
        raise UnreadableLabels(f"stated as {stated[1]} x {stated[0]}, the photograph is {size[1]} x {size[0]} upright")

    def size_warnings(self) -> tuple[str, ...]:
        """A sentence about measured sizes that were read otherwise than they are stated."""
        if not self._turned:
            return ()
        count = f"{len(self._turned)}, such as {self._turned[0]}"
        return (f"sizes before EXIF's rotation, outlines taken as of the upright photographs: {count}",)


class LabelFile(NamedTuple):
    """What a file of labels holds, or the files of one folder. A category may be called BACKGROUND."""

    listing: Path
    categories: dict[Id, str]  # names, in the order of the file
    images: list[AnnotatedImage]  # of COCO by rising id
    warnings: tuple[str, ...]  # sentences about what is not read
    unusable: tuple[str, ...] = ()  # images that are left out, each with the reason
    n_groups: int = 0  # ignored annotations that show several objects (`iscrowd`)
    held_out: bool = False  # for validation
    bare: Collection[str] = ()  # images without a mark, of which the file does not say whether somebody labelled them
    left_out: Collection[Path | None] = ()  # photographs of images that are left out
    photographs: Mapping[str, Path] = {}  # by the names of the images, where they were looked at


def with_own_photographs(parts: Sequence[LabelFile], files: SetFiles) -> Iterator[LabelFile]:
    """Leave out images with the photograph of another: found only by its bare name, or in another listing's folder."""
    folders: dict[Path, set[Path]] = {}  # of listings, around each photograph
    for part in parts:
        folder = part.listing.parent.parent if part.listing.parent.name in BESIDE else part.listing.parent
        for file in part.photographs.values():
            around = folders.setdefault(file, set())
            if file.is_relative_to(folder):
                around.add(folder)
    for part in parts:
        sharing = Counter(part.photographs.values())
        faults = {
            name: as_text(f"image {name}: it leads to {place}, and so does another")
            for name, file in part.photographs.items()
            for place in [files.place_of(file)]
            if (sharing[file] > 1 and not f"/{place}".endswith(f"/{name}"))
            or (folders[file] and not any(map(part.listing.is_relative_to, folders[file])))
        }
        images = [image for image in part.images if image.file_name not in faults]
        unusable = tuple(faults.values())
        warnings = images_left_out(part.listing, len(part.images), unusable)
        yield part._replace(images=images, warnings=part.warnings + warnings, unusable=part.unusable + unusable)


def class_name(label: object) -> str | None:
    """The class of a tool's label: BACKGROUND for one of BACKGROUND_LABELS; None, any class, for UNKNOWN_LABEL."""
    name = as_text(plain(str(label)))
    if folded(name) == UNKNOWN_LABEL:
        return None
    return BACKGROUND if folded(name) in BACKGROUND_LABELS else name


def some_of(faults: Sequence[str]) -> str:
    return "; ".join(faults[:MAX_NAMED]) + ("; ..." if len(faults) > MAX_NAMED else "")


def images_left_out(listing: Path, n_images: int, faults: Sequence[str]) -> tuple[str, ...]:
    if not faults:
        return ()
    of = f"of {n_images} images in {listing}"
    return (as_text(f"{len(faults)} {of} cannot be used and are left out: {some_of(faults)}"),)


def not_read(listing: Path, n_annotations: int, faults: Sequence[str], n_boxes: int = 0) -> tuple[str, ...]:
    """Sentences about a listing's annotations: none at all, unusable ones, and boxes without an outline."""
    of = f"of {n_annotations} annotations in {listing}"
    warnings = []
    if not n_annotations:
        warnings.append(f"{listing} has no annotations")
    if faults:
        warnings.append(f"{len(faults)} {of} cannot be used, their pixels are ignored: {some_of(faults)}")
    if n_boxes:
        warnings.append(f"{n_boxes} {of} are boxes without an outline: their pixels are ignored")
    return tuple(map(as_text, warnings))


@contextmanager
def faults_of(path: Path, fault: str = "") -> Iterator[None]:
    """Unreadable labels in the block become a DatasetError with the name of their file."""
    try:
        yield
    except UnreadableLabels as error:
        raise DatasetError(f"{path}{fault}: {error}") from None
    except ParseError as error:
        raise DatasetError(f"{path} is not XML: {error}") from None


def in_cvat(path: Path) -> Iterator[Listed]:
    with faults_of(path):
        yield from cvat.pictures_of(read_bytes(path, MAX_XML_BYTES))


def in_labelme(paths: Sequence[Path], files: SetFiles) -> Iterator[Listed]:
    """The photographs of Labelme's files: the ones that they name, or of their own names in the same folder."""
    for path in paths:
        listed = labelme.picture_of(read_json(path), path.name)
        place = files.place_of(path.parent)
        named = files.find(listed.name, (place,)) if listed.name else None
        found = [each for each in files.in_folder(place) if each.stem == path.stem and is_picture_name(each)]
        if named is not None and is_picture_name(named):
            found = [named] if named in found else [named, *found]
        if len(found) == 1:
            yield listed._replace(name=files.place_of(found[0]))
        else:
            fault = f"it may be of {found[0].name} or {found[1].name}" if found else None
            yield listed._replace(name=listed.name or path.stem, fault=fault)


def read_listed(
    place: Path, listed: Iterable[Listed], files: SetFiles, listing: Path, labelled: Collection[Path] = ()
) -> LabelFile:
    """Read photographs with their marks; labels are the ids of their categories.

    Photographs that nobody has labelled, are missing, cannot be read or are of another size are left out, counted and
    named; `labelled` ones are passed over, since another layout has their labels. `place` is the file that lists them,
    or of several files what their folder shall be looked up by, `listing` the file or folder that messages name.
    """
    images, unusable, faults, count, n_boxes, n_images = [], list[str](), list[str](), 0, 0, 0
    left_out = set[Path | None]()
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
            image = entry.name if entry.video is None else f"{entry.video:.200}/{entry.name}"
            left_out.add(photographs.find(photographs.place_of(entry)))
            unusable.append(as_text(f"{entry.file or 'image'}{': ' if entry.file else ' '}{image:.400}: {error}"))
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
    return LabelFile(
        place, names, images, warnings, tuple(unusable), left_out=left_out, photographs=photographs.measured
    )
