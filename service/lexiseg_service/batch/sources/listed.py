"""The pictures of a job: URLs, a folder or a prefix that the operator allows, an uploaded zip or tar.

A source is listed once, when the job is created. Nothing is unpacked: pictures are read from the archive one by one, up
to the limit of an image. So a name in an archive is never a path, and a bomb costs what one picture may.
"""

from __future__ import annotations

import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from lexiseg_model.errors import TooManyEntriesError
from lexiseg_model.files.archives import PLAIN, files_in, open_zip
from lexiseg_model.files.names import as_text, from_text, is_hidden
from lexiseg_model.pictures.formats import is_picture_name
from lexiseg_service.batch.files import open_store
from lexiseg_service.batch.ledger.job import Job, Picture, SourceKind
from lexiseg_service.errors import InvalidValue, NotAllowed, TooLarge, UndecodableImage
from lexiseg_service.uploaded_archive import ARCHIVE, BYTES_PER_ENTRY, parts_inside

FOLDER = "folder"
READ: tuple[SourceKind, ...] = ("folder", "zip", "tar")  # kinds of files that are read; others are fetched
GZIP = b"\x1f\x8b"


class Reader(Protocol):
    """Reads the pictures of one job. Thread-safe."""

    def read(self, picture: Picture) -> bytes:
        """One encoded picture.

        Raises:
            ServiceError: it cannot be read; the message is for its line.
            OSError: the disk or the store refuses now.
        """
        ...


def numbered(named: Iterable[tuple[str, str]], max_pictures: int, field: str) -> list[Picture]:
    """Names and places as pictures.

    Raises:
        InvalidValue: there are none, or more than `max_pictures`.
    """
    pictures: list[Picture] = []
    for number, (name, place) in enumerate(named):
        if number == max_pictures:
            raise InvalidValue.of(
                field, f"more than {max_pictures:,} pictures", f"at most {max_pictures:,} (LEXISEG_JOB_PICTURES)"
            )
        pictures.append(Picture(number, as_text(name), as_text(place)))
    if not pictures:
        of_files = ", of a name that ends like a picture's" if field in (ARCHIVE, FOLDER) else ""
        raise InvalidValue.of(field, "no pictures", f"at least one{of_files}")
    return pictures


def allowed(folder: str, roots: Sequence[str]) -> str:
    """A folder that a client names, if it is one of the roots or below one.

    Raises:
        NotAllowed: it is not.
    """
    address = folder.rstrip("/")
    parts = PurePosixPath(address).parts
    is_plain = ".." not in parts and "\0" not in address and "*" not in address
    if not is_plain or not any(address == root or address.startswith(f"{root}/") for root in _stripped(roots)):
        raise NotAllowed(f"folder: {folder[:80]!r} is not below a folder that LEXISEG_JOB_FOLDERS names")
    return address


def _stripped(roots: Sequence[str]) -> list[str]:
    return [root.rstrip("/") for root in roots]


def in_folder(folder: str) -> Iterator[tuple[str, str]]:
    """The pictures in a folder and below it, without hidden ones: path from the folder, and address.

    Raises:
        InvalidValue: there is no such folder, or no package for its protocol.
        OSError: it cannot be listed.
    """
    store, root = open_store(folder, FOLDER)
    if not store.isdir(root):
        raise InvalidValue.of(FOLDER, folder, "a folder or prefix that exists")
    for inside, _, names in store.walk(root):
        for name in sorted(names):
            path = f"{inside}/{name}"[len(root) :].lstrip("/")
            if is_picture_name(name) and not any(map(is_hidden, path.split("/"))):
                yield path, path


def in_archive(content: BinaryIO, max_files: int) -> tuple[SourceKind, list[tuple[str, str]]]:
    """The kind of an archive, and the names and places of the pictures in it.

    Raises:
        InvalidValue: neither a zip nor an uncompressed tar, a damaged one, one with too many entries or with a name
            that leads out of it.
    """
    content.seek(0)
    head = content.read(4)
    content.seek(0)
    try:
        if head.startswith(b"PK"):
            return "zip", list(_safe(_in_zip(content, max_files)))
        if head.startswith(GZIP):
            raise InvalidValue.of(ARCHIVE, "a gzip", EXPECTED)
        return "tar", list(_safe(_in_tar(content, max_files)))
    except TooManyEntriesError as error:
        raise InvalidValue.of(ARCHIVE, str(error), f"at most {max_files:,} files") from None
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise InvalidValue.of(ARCHIVE, f"a file that is damaged or cut off ({error})", EXPECTED) from None


EXPECTED = "a whole zip or an uncompressed tar"


def _safe(members: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The pictures among an archive's members."""
    for name, place in members:
        if not any(map(is_hidden, parts_inside(name))) and is_picture_name(name):
            yield name, place


def _in_zip(content: BinaryIO, max_files: int) -> Iterator[tuple[str, str]]:
    """Files of a zip."""
    with open_zip(content, max_files * BYTES_PER_ENTRY) as archive:
        for number, entry in enumerate(archive.infolist()):
            if not entry.is_dir():
                yield entry.filename, str(number)


def _in_tar(content: BinaryIO, max_files: int) -> Iterator[tuple[str, str]]:
    for entry in files_in(content, 2 * max_files):  # a tar has folders, too
        yield entry.name, f"{entry.offset_data}+{entry.size}"


def reader_of(job: Job, max_bytes: int) -> Reader:
    """The reader of a job's pictures, whose kind is in READ; all others are fetched.

    Raises:
        InvalidValue: no package for its store is installed.
    """
    return ZipReader(job.root, max_bytes) if job.kind == "zip" else StoreReader(job, max_bytes)


class StoreReader:
    """Reads files of a folder, or stretches of a tar."""

    def __init__(self, job: Job, max_bytes: int) -> None:
        self._store, self._root = open_store(job.root, FOLDER)
        self._is_tar = job.kind == "tar"
        self._max_bytes = max_bytes

    def read(self, picture: Picture) -> bytes:
        """As `Reader.read`."""
        if self._is_tar:
            at, _, length = picture.place.partition("+")
            _check_size(int(length), self._max_bytes)
            return bytes(self._store.cat_file(self._root, start=int(at), end=int(at) + int(length)))
        try:
            with self._store.open(f"{self._root}/{from_text(picture.place)}", "rb") as file:
                content = bytes(file.read(self._max_bytes + 1))
        except FileNotFoundError:
            raise UndecodableImage("the file is gone since the job was created") from None
        _check_size(len(content), self._max_bytes)
        return content


class ZipReader:
    """Reads members of a zip."""

    def __init__(self, address: str, max_bytes: int) -> None:
        store, path = open_store(address, ARCHIVE)
        self._archive = zipfile.ZipFile(store.open(path, "rb"))  # closed with the reader
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def read(self, picture: Picture) -> bytes:
        """As `Reader.read`."""
        entry = self._archive.infolist()[int(picture.place)]
        if entry.compress_type not in PLAIN:
            raise UndecodableImage("its compression in the archive is not taken; expected stored or deflated")
        try:
            with self._lock, self._archive.open(entry) as member:
                content = member.read(self._max_bytes + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise UndecodableImage(f"it cannot be read from the archive: {error}") from None
        _check_size(len(content), self._max_bytes)
        return content


def _check_size(n_bytes: int, max_bytes: int) -> None:
    if n_bytes > max_bytes:
        raise TooLarge(f"the picture has {n_bytes:,} bytes or more, at most {max_bytes:,} are taken")
