"""Find the photographs that a file of annotations names: beside it, in a folder of its split, or anywhere below."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from lexiseg_model.errors import DatasetError
from lexiseg_model.file_names import as_text, visible_files
from lexiseg_train.data.pairs.source import photographs_beside

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of Label Studio
ADDRESS = re.compile(r"[^/?#:]+://[^/?#]*(?P<path>[^?#]*)")  # RFC 3986, B; a listing may hold malformed ones
FOLDERS = ("images", "data")  # of most tools; of FiftyOne
BESIDE = ("annotations", "labels")  # folders of listings, whose photographs lie beside them


def is_file(path: Path) -> bool:
    """Whether a path that a file names leads to a file; no name is too long or too odd to ask."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


class Photographs:
    """The photographs of one listing, below a folder."""

    def __init__(self, listing: Path, folder: Path | None = None) -> None:
        """Without a folder it is the listing's, or the one above where that holds listings alone."""
        self._listing = listing
        parent, beside = listing.parent, photographs_beside(listing)
        apart = parent.name in BESIDE or beside != parent
        self.folder = folder or (parent.parent if apart else parent)
        split = listing.stem.removeprefix("instances_")
        names = ("", *FOLDERS, *(f"{kind}/{split}" for kind in FOLDERS), split)  # CVAT: images/Train; COCO: train2017
        self._places = [place / name for place in dict.fromkeys((parent, self.folder)) for name in names]
        if beside.is_relative_to(self.folder):
            self._places.append(beside)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        by_name = defaultdict(list)
        for each in visible_files(self.folder):
            by_name[each.name].append(each)
        return by_name

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
        path = named.replace("\\", "/") if address is None else unquote(address["path"])
        if not path.startswith("/"):
            for place in self._places:
                if is_file(place / path):
                    self._places.remove(place)
                    self._places.insert(0, place)  # the next one is likely to lie there, too
                    return place / path
        name = PurePosixPath(path).name
        for each_name in (name, UPLOAD_PREFIX.sub("", name)):
            if len(alike := self._by_name.get(each_name, [])) == 1:
                return alike[0]
        return None
