"""What every source of pictures shares: names and places are listed once, each picture is read by its place later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, Protocol

from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.files.names import as_text, is_hidden
from lexiseg_service.errors import InvalidValue, NotAllowed, TooLarge, UndecodableImage
from lexiseg_service.gateway.uploaded_archive import ARCHIVE

FOLDER = "folder"
# What a client sends or names, what a tool's adapter fetches, and tables and shards of whoever runs a command.
SourceKind = Literal["urls", "folder", "zip", "tar", "label-studio", "csv", "parquet", "webdataset", "files"]


class Picture(NamedTuple):
    """One input of a job, as its source lists it."""

    name: str  # for people: a URL, a path in a folder or an archive, an id of a table
    place: str  # for the reader of the source
    at: int | None = None  # in the file at the place: offset in a tar, row of a row group; None: the whole file
    length: int | None = None  # bytes in a tar, number of the row group
    problem: str | None = None  # listing failed already, as for a damaged tar
    number: int = 0  # in the order of the source


class Reader(Protocol):
    """Reads the pictures of one source; thread-safe. Raises ServiceError for its row, OSError to try again."""

    def read(self, picture: Picture) -> bytes: ...


class Unreadable(UndecodableImage):
    """An image cannot be read; the message gives the reason without the name."""


def check_size(n_bytes: int, max_bytes: int) -> None:
    """Raises TooLarge: a picture is over the limit."""
    if n_bytes > max_bytes:
        raise TooLarge(f"the picture has {n_bytes:,} bytes or more, at most {max_bytes:,} are taken")


def in_folder(store: Any, root: str) -> Iterator[Picture]:
    """The pictures in a folder and below it, without hidden ones; name and place are the path from the folder."""
    for inside, _, names in store.walk(root):
        for name in sorted(names):
            path = f"{inside}/{name}"[len(root) :].lstrip("/")
            if is_picture_name(name) and not any(map(is_hidden, path.split("/"))):
                yield Picture(as_text(path), path)


def numbered(listed: Iterable[Picture], max_pictures: int, field: str) -> list[Picture]:
    pictures: list[Picture] = []
    for number, each in enumerate(listed):
        if number == max_pictures:
            raise InvalidValue.of(field, f"more than {max_pictures:,} pictures", f"at most {max_pictures:,}")
        pictures.append(Picture(as_text(each.name), as_text(each.place), number=number))
    if not pictures:
        of_files = ", of a name that ends like a picture's" if field in (ARCHIVE, FOLDER) else ""
        raise InvalidValue.of(field, "no pictures", f"at least one{of_files}")
    return pictures


def allowed(folder: str, roots: Sequence[str]) -> str:
    """A folder that a client names, if it is one of the roots or below one."""
    address = folder.rstrip("/")
    is_plain = ".." not in PurePosixPath(address).parts and "\0" not in address and "*" not in address
    stripped = [root.rstrip("/") for root in roots]
    if not is_plain or not any(address == root or address.startswith(f"{root}/") for root in stripped):
        raise NotAllowed(f"folder: {folder[:80]!r} is not below a folder that LEXISEG_JOB_FOLDERS names")
    return address
