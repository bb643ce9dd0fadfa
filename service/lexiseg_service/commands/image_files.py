"""Images named on a command line: files, folders, patterns, URLs and standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.folder_sets import without_results
from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.files.names import on_one_line, visible_files
from lexiseg_model.pictures.header import STILL_FORMATS
from lexiseg_service.batch.sources.files import FileReader
from lexiseg_service.batch.sources.source import Picture, Unreadable, check_size
from lexiseg_service.image.reader import decode
from lexiseg_service.settings import Limits

STDIN = "-"


@dataclass(frozen=True)
class Source:
    """One image: a file, a URL, or `-` for standard input; messages and annotations use `name`."""

    name: str
    path: Path | None = None  # None for a URL and standard input
    limits: Limits = field(default_factory=Limits)

    @property
    def stem(self) -> str:
        if self.path is not None:
            return on_one_line(self.path.stem)
        if self.name == STDIN:
            return "stdin"
        return on_one_line(PurePosixPath(unquote(urlsplit(self.name).path)).stem) or "image"

    @property
    def stamp(self) -> int:
        try:
            return 0 if self.path is None else self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def read(self) -> bytes:
        """The encoded image. Raises Unreadable, or TooLarge: it has more bytes than the limit."""
        max_bytes = self.limits.max_image_bytes
        try:
            if self.path is not None:
                with self.path.open("rb") as file:
                    content = file.read(max_bytes + 1)
            elif self.name == STDIN:
                content = sys.stdin.buffer.read(max_bytes + 1)
            else:  # any host is allowed, as the user runs the command
                with closing(FileReader(max_bytes)) as reader:
                    return reader.read(Picture(self.name, self.name))
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from None
        check_size(len(content), max_bytes)
        return content

    def pixels(self) -> NDArray[np.uint8]:
        """[H, W, 3], upright, as the service sees them. Raises ServiceError: it cannot be read or decoded."""
        return decode(self.read(), self.limits, None).rgb


def sources_of(arguments: Sequence[str | Path], limits: Limits, out: Path | None = None) -> list[Source]:
    """The images of a command line, each once, in order.

    Folders and patterns leave out the results in `out`, `out-2`, ...: a second run would segment what the first wrote.
    """
    sources: dict[str, Source] = {}
    for argument in arguments:
        for source in _sources_of_argument(str(argument), limits, out):
            sources.setdefault(source.name, source)
    if all(source.path is not None and not os.path.exists(source.path) for source in sources.values()):
        raise Unreadable("\n".join(f"{name}: No such file" for name in sources))
    return list(sources.values())


def _sources_of_argument(argument: str, limits: Limits, out: Path | None) -> list[Source]:
    if argument == STDIN:
        return [Source(STDIN, None, limits)]
    if argument.startswith(("http://", "https://")):
        return [Source(argument, None, limits)]
    path = Path(argument)
    # Path.is_dir and Path.exists raise where a name is too long.
    if os.path.isdir(path):
        root, candidates = path, [file for file in visible_files(path) if is_picture_name(file)]
        expected = f"expected a folder with images ({STILL_FORMATS}), it has none"
    elif not os.path.exists(path) and glob.has_magic(argument):
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        candidates = [Path(name) for name in glob.glob(argument, recursive=True)]
        expected = "no image matches the pattern"
    else:
        return [Source(argument, path, limits)]
    files = without_results(sorted(file for file in candidates if file.is_file()), root, out)
    if not files:
        raise Unreadable(f"{argument}: {expected}")
    return [Source(str(file), file, limits) for file in files]
