"""Sources of pictures: names and places are listed once, each picture is read by its place later.

No archive is unpacked: pictures are read from it one by one, up to the limit of an image. So a name in an archive is
never a path, and a bomb costs what one picture may.
"""

from __future__ import annotations

import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.errors import TooManyEntriesError
from lexiseg_model.files.archives import PLAIN, files_in, open_zip
from lexiseg_model.files.names import as_text, is_hidden
from lexiseg_service.errors import InvalidValue, NotAllowed, TooLarge, UndecodableImage
from lexiseg_service.gateway.uploaded_archive import ARCHIVE, BYTES_PER_ENTRY, parts_inside

FOLDER = "folder"
GZIP = b"\x1f\x8b"
EXPECTED = "a whole zip or an uncompressed tar"
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


def in_archive(content: BinaryIO, max_files: int) -> tuple[SourceKind, list[Picture]]:
    """The kind of an archive that a client sends, and the pictures in it."""
    content.seek(0)
    head = content.read(4)
    content.seek(0)
    try:
        if head.startswith(b"PK"):
            return "zip", _inside(_in_zip(content, max_files))
        if head.startswith(GZIP):
            raise InvalidValue.of(ARCHIVE, "a gzip", EXPECTED)
        return "tar", _inside(in_tar(content, 2 * max_files))  # a tar has folders, too
    except TooManyEntriesError as error:
        raise InvalidValue.of(ARCHIVE, str(error), f"at most {max_files:,} files") from None
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise InvalidValue.of(ARCHIVE, f"a file that is damaged or cut off ({error})", EXPECTED) from None


def _inside(members: Iterator[Picture]) -> list[Picture]:
    """The pictures among all files of an archive. Raises InvalidValue: a name leads out of it."""
    return [each for each in members if not any(map(is_hidden, parts_inside(each.name))) and is_picture_name(each.name)]


def _in_zip(content: BinaryIO, max_files: int) -> Iterator[Picture]:
    """All files; the place of one is its number in the directory."""
    with open_zip(content, max_files * BYTES_PER_ENTRY) as archive:
        for number, entry in enumerate(archive.infolist()):
            if not entry.is_dir():
                yield Picture(entry.filename, str(number))


def in_tar(content: BinaryIO, max_entries: int | None = None) -> Iterator[Picture]:
    """All files; the place of one is its stretch as OFFSET+SIZE. Raises tarfile.TarError: it is damaged."""
    for entry in files_in(content, max_entries):
        yield Picture(entry.name, f"{entry.offset_data}+{entry.size}", entry.offset_data, entry.size)


def in_shard(store: Any, path: str) -> Iterator[Picture]:
    """Pictures of a tar as webdataset has it, named SHARD/NAME. Damage becomes one more input with a problem."""
    shard, count, place = path.rpartition("/")[2], 0, store.unstrip_protocol(path)
    with store.open(path, "rb") as content:
        try:
            for member in in_tar(content):
                if is_picture_name(member.name) and not is_hidden(member.name.rpartition("/")[2]):
                    count += 1
                    yield member._replace(name=as_text(f"{shard}/{member.name}"), place=place)
        except tarfile.TarError as error:
            problem = f"the tar is damaged, cut off or compressed after {count:,}: {error}"
            yield Picture(as_text(f"{shard}#damaged"), path, problem=problem)


class ZipReader:
    """Reads members of a zip; as `Reader`."""

    def __init__(self, store: Any, path: str, max_bytes: int) -> None:
        self._archive = zipfile.ZipFile(store.open(path, "rb"))
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def read(self, picture: Picture) -> bytes:
        entry = self._archive.infolist()[int(picture.place)]
        if entry.compress_type not in PLAIN:
            raise UndecodableImage("its compression in the archive is not taken; expected stored or deflated")
        try:
            with self._lock, self._archive.open(entry) as member:
                content = member.read(self._max_bytes + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise UndecodableImage(f"it cannot be read from the archive: {error}") from None
        check_size(len(content), self._max_bytes)
        return content
