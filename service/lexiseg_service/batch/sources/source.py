"""What every source of pictures shares: names and places are listed once, each picture is read by its place later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.files.names import as_text, is_hidden
from lexiseg_service.errors import TooLarge, UndecodableImage

# What a client sends or names, what a tool's adapter fetches, and tables and shards of whoever runs a command.
SourceKind = Literal["urls", "folder", "zip", "tar", "label-studio", "csv", "parquet", "webdataset", "files"]


class Listed(NamedTuple):
    """What a source lists of one picture."""

    name: str  # for people: a URL, a path in a folder or an archive, an id of a table
    place: str  # for the reader of the source
    at: int | None = None  # in the file at the place: offset in a tar, row of a row group; None: the whole file
    length: int | None = None  # bytes in a tar, number of the row group
    problem: str | None = None  # listing failed already, as for a damaged tar


class Picture(NamedTuple):
    """One input of a job: its number in the order of the source, from 0, and what the source lists of it."""

    number: int
    name: str
    place: str
    at: int | None = None
    length: int | None = None
    problem: str | None = None


class Reader(Protocol):
    """Reads the pictures of one source. Thread-safe."""

    def read(self, picture: Picture) -> bytes:
        """One encoded picture."""
        ...

    def close(self) -> None:
        """Close the connections and files."""
        ...


class Unreadable(UndecodableImage):
    """An image cannot be read; the message gives the reason without the name."""


def check_size(n_bytes: int, max_bytes: int) -> None:
    """Raises TooLarge: a picture is over the limit."""
    if n_bytes > max_bytes:
        raise TooLarge(f"the picture has {n_bytes:,} bytes or more, at most {max_bytes:,} are taken")


def in_folder(store: Any, root: str) -> Iterator[Listed]:
    """The pictures in a folder and below it, without hidden ones; name and place are the path from the folder."""
    for inside, _, names in store.walk(root):
        for name in sorted(names):
            path = f"{inside}/{name}"[len(root) :].lstrip("/")
            if is_picture_name(name) and not any(map(is_hidden, path.split("/"))):
                yield Listed(as_text(path), path)
