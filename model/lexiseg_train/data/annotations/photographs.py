"""The photographs that a file of annotations names: next to it, in a folder of its split, or anywhere below."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.marks import Listed
from lexiseg_labels.masks.outlines import Size, checked_size
from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.errors import DatasetError, PictureError
from lexiseg_model.files.names import as_text
from lexiseg_model.pictures.header import read_header
from lexiseg_train.data.files.frames import picture_bytes
from lexiseg_train.data.files.inside import SetFiles

UPLOAD_PREFIX = re.compile(r"^(.*/)?[0-9a-f]{8}-(?=[^/]*$)")  # of Label Studio
ADDRESS = re.compile(r"[^/?#:]+://[^/?#]*(?P<path>[^?#]*)")  # RFC 3986, B; a listing may hold malformed ones
FOLDERS = ("images", "data")  # of most tools; of FiftyOne
BESIDE = ("annotations", "labels")  # folders of listings with photographs in the folder above
TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations by which width and height change places


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
        video = None if entry.video is None or self.find(entry.name) is not None else self.find(entry.video)
        return entry.name if video is None else f"{self.files.place_of(video)}/{entry.name}"

    def measured_size(self, name: str, height: object, width: object) -> Size:
        """(H, W) of the upright photograph of a name; tools may state it as stored, before EXIF's rotation."""
        path = self.find(name)
        if path is None:
            raise UnreadableLabels("there is no such file in the data set")
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
        photographs = f"{len(self._turned)} photographs, such as {self._turned[0]},"
        return (f"{photographs} are stated before their EXIF rotation: outlines are taken as of the upright ones",)
