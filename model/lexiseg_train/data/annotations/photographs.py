"""Find the photographs that a file of annotations names: next to it, in a folder of its split, or anywhere below."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.pairs.source import photographs_beside

UPLOAD_PREFIX = re.compile(r"^(.*/)?[0-9a-f]{8}-(?=[^/]*$)")  # of Label Studio
ADDRESS = re.compile(r"[^/?#:]+://[^/?#]*(?P<path>[^?#]*)")  # RFC 3986, B; a listing may hold malformed ones
FOLDERS = ("images", "data")  # of most tools; of FiftyOne
BESIDE = ("annotations", "labels")  # folders of listings with photographs in the folder above


class Photographs:
    """The photographs of one listing, below a folder; a name that leads out of it is looked for inside."""

    def __init__(self, listing: Path, folder: Path | SetFiles | None = None) -> None:
        """Without a folder it is the listing's, or the one above where that holds only listings."""
        self._listing = listing
        parent, beside = listing.parent, photographs_beside(listing)
        apart = parent.name in BESIDE or beside != parent
        self._files = folder if isinstance(folder, SetFiles) else None
        self.folder = folder.folder if isinstance(folder, SetFiles) else folder or (parent.parent if apart else parent)
        split = listing.stem.removeprefix("instances_")
        names = ("", *FOLDERS, *(f"{kind}/{split}" for kind in FOLDERS), split)  # CVAT: images/Train; COCO: train2017
        around = [parent.parent] if parent.name in BESIDE else []
        bases = [place.relative_to(self.folder).as_posix() for place in (parent, *around, beside) if self._holds(place)]
        self._places = [posixpath.normpath(f"{base}/{name}") for base in dict.fromkeys((*bases, ".")) for name in names]

    def _holds(self, place: Path) -> bool:
        return place.is_relative_to(self.folder)

    @cached_property
    def files(self) -> SetFiles:
        """The files among which photographs are found."""
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
        for each in dict.fromkeys((path, UPLOAD_PREFIX.sub(r"\1", path))):
            if (file := self.files.find(each, self._places)) is not None:
                return file
        return None
