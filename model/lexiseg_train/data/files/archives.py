"""Unpack a zip or tar of a data set into a new folder: names stay inside, bytes and files are counted."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path
from typing import IO, BinaryIO

from lexiseg_labels.names import fitting
from lexiseg_model.errors import DatasetError, TooManyEntriesError
from lexiseg_model.files.archives import PLAIN, entries_of, open_tar, open_zip, parts_of
from lexiseg_model.files.names import as_text, is_hidden
from lexiseg_train.data.files.documents import MAX_ARCHIVE_BYTES, MAX_ARCHIVE_FILES
from lexiseg_train.data.files.inside import DRIVE, MACOS

CHUNK = 1 << 20
BYTES_PER_ENTRY = 512  # of a zip's directory: 46, a name and extra fields
LINK = 0xA000  # file type of a symbolic link, as Unix stores it in a zip
# As the parsers of both say it; RuntimeError: encrypted.
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, BadGzipFile, zlib.error, EOFError, LZMAError, RuntimeError,
)  # fmt: skip
Member = tuple[str, IO[bytes]]


def is_archive(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        if zipfile.is_zipfile(path):
            return True
        with path.open("rb") as content, open_tar(content, compressed=True):
            return True
    except (OSError, *DAMAGED):
        return False


def unpack(
    path: Path, folder: Path, max_files: int = MAX_ARCHIVE_FILES, max_bytes: int = MAX_ARCHIVE_BYTES
) -> tuple[str, ...]:
    """Unpack a zip or a tar, compressed or not, without hidden files, into a folder of which no file is replaced.

    Returns sentences about members that are left out: links and devices.
    """
    left, n_files, skipped = max_bytes, 0, list[str]()
    with _damage_named(path, max_files), path.open("rb") as content:
        folder.mkdir(parents=True, exist_ok=True)
        read = _in_zip if content.read(2) == b"PK" else _in_tar
        content.seek(0)
        for name, member in read(content, max_files, skipped):
            parts = parts_of(name)
            if not parts or DRIVE.match(name.replace("\\", "/")):
                raise DatasetError(as_text(f"{path} holds the name {name!r:.100}; expected names inside the archive"))
            if any(is_hidden(part) or part == MACOS for part in parts):
                continue
            n_files += 1
            if n_files > max_files:
                raise DatasetError(f"{path} has more than {max_files:,} files, which is the most that is read")
            target = folder.joinpath(*map(fitting, parts))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while piece := member.read(CHUNK):
                    if (left := left - len(piece)) < 0:
                        raise DatasetError(f"{path} has more than {max_bytes:,} bytes unpacked, the most that is read")
                    file.write(piece)
    if not skipped:
        return ()
    return (as_text(f"{len(skipped)} links or devices in {path} are left out, such as {skipped[0]:.100}"),)


@contextmanager
def _damage_named(path: Path, max_files: int) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        name = Path(str(error.filename)).name
        raise DatasetError(as_text(f"{path} holds one name twice, as a file or a folder: {name:.100}")) from None
    except TooManyEntriesError as error:
        raise DatasetError(f"{path} has {error}; expected at most {max_files:,} files") from None
    except DAMAGED as error:
        reason = " ".join(str(error).split())  # tarfile names each way that it tried on a line
        raise DatasetError(f"{path} is damaged, cut off or encrypted: {reason}") from None


def _in_zip(content: BinaryIO, max_files: int, skipped: list[str]) -> Iterator[Member]:
    with open_zip(content, 2 * max_files * BYTES_PER_ENTRY) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if entry.external_attr >> 16 & 0xF000 == LINK:
                skipped.append(entry.filename)
                continue
            if entry.compress_type not in PLAIN:
                raise zipfile.BadZipFile(f"{entry.filename[:80]!r} is neither stored nor deflated")
            with archive.open(entry) as member:
                yield entry.filename, member


def _in_tar(content: BinaryIO, max_files: int, skipped: list[str]) -> Iterator[Member]:
    with open_tar(content, compressed=True) as archive:
        for entry in entries_of(archive, 2 * max_files):  # a tar has folders, too
            if entry.isdir():
                continue
            member = archive.extractfile(entry) if entry.isreg() else None
            if member is None:
                skipped.append(entry.name)
                continue
            with member:
                yield entry.name, member
