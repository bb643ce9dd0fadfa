"""Where photographs lie that an annotation tool names: beside its file, in a folder of their split, or elsewhere."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of a file that it is given


class Photographs:
    """The photographs of one listing in a folder of pictures."""

    def __init__(self, folder: Path, listing: Path) -> None:
        split = listing.stem.removeprefix("instances_")
        above = dict.fromkeys((listing.parent, folder))
        # CVAT: images/default, images/Train; COCO: train2017.
        self._places = [place / inside for place in above for inside in ("", "images", f"images/{split}", split)]
        self._folder = folder
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, named: str) -> Path | None:
        """The file of that name, path or URL; by its name alone where only one in the folder has it."""
        path = unquote(urlsplit(named).path) if "://" in named else named.replace("\\", "/")
        for place in self._places:
            if not path.startswith("/") and (place / path).is_file():
                return place / path
        name = PurePosixPath(path).name
        for each in (name, UPLOADED.sub("", name)):
            if len(alike := self._named().get(each, [])) == 1:
                return alike[0]
        return None

    def _named(self) -> dict[str, list[Path]]:
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for path in self._folder.rglob("*"):
                if path.is_file():
                    self._by_name[path.name].append(path)
        return self._by_name
