"""Unpack a zip or tar of a data set into a new folder: names stay inside, bytes and files are counted."""

from __future__ import annotations

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from lexiseg_model.errors import DatasetError
from lexiseg_model.file_names import as_text, fitting, is_hidden
from lexiseg_train.data.files.inside import DRIVE, MACOS
from lexiseg_train.data.files.limits import MAX_ARCHIVE_BYTES, MAX_ARCHIVE_FILES

CHUNK = 1 << 20
END_OF_ZIP = b"PK\5\6"
MAX_END_BYTES = 22 + (1 << 16)  # of the record at a zip's end, and its comment
BYTES_PER_ENTRY = 512  # of a zip's directory: 46, a name and extra fields
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what zipfile unpacks only as far as it is asked for
MAX_TAR_HEADER = 1 << 20  # bytes of a long name or of PAX fields
LINK = 0xA000  # file type of a symbolic link, as Unix stores it in a zip
# As the parsers of both say it; RuntimeError: encrypted.
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, LZMAError, RuntimeError,
)  # fmt: skip
Member = tuple[str, IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, by what it holds."""
    try:
        return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))
    except (OSError, *DAMAGED):
        return False


def unpack(
    path: Path, folder: Path, max_files: int = MAX_ARCHIVE_FILES, max_bytes: int = MAX_ARCHIVE_BYTES
) -> tuple[str, ...]:
    """Unpack a zip or a tar, compressed or not. Hidden files are left out.

    Args:
        path: the archive.
        folder: is made.
        max_files: files that it may have.
        max_bytes: of all its files.

    Returns:
        Sentences about members that are left out: links and devices.

    Raises:
        DatasetError: it is damaged, has too many files or bytes, a name twice, or one that leads out of it.
        OSError: the disk is full.
    """
    left, n_files, skipped = max_bytes, 0, list[str]()
    with _damage_named(path), path.open("rb") as content:
        folder.mkdir(parents=True)
        read = _in_zip if content.read(2) == b"PK" else _in_tar
        content.seek(0)
        for name, member in read(path, content, max_files, skipped):
            parts = _inside(path, name)
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
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        name = Path(str(error.filename)).name
        raise DatasetError(as_text(f"{path} holds one name twice, as a file or a folder: {name:.100}")) from None
    except DAMAGED as error:
        raise DatasetError(f"{path} is damaged, cut off or encrypted: {error}") from None


def _inside(path: Path, name: str) -> tuple[str, ...]:
    """The parts of a name in an archive. Raises DatasetError: it leads out of it."""
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if plain.startswith("/") or DRIVE.match(plain) or ".." in parts or "\0" in name or not parts:
        raise DatasetError(as_text(f"{path} holds the name {name!r:.100}; expected names inside the archive"))
    return parts


def _in_zip(path: Path, content: BinaryIO, max_files: int, skipped: list[str]) -> Iterator[Member]:
    """Files of a zip. Its directory is read whole, so its size is looked at first."""
    size = content.seek(0, 2)
    content.seek(max(0, size - MAX_END_BYTES))
    end = content.read()
    at = end.rfind(END_OF_ZIP)
    if at < 0 or len(end) - at < 22:
        raise zipfile.BadZipFile("it has no directory at its end")
    (n_bytes,) = struct.unpack_from("<L", end, at + 12)
    # ZIP64 states 0xFFFFFFFF here: a directory is always smaller than its archive.
    if min(n_bytes, size) > 2 * max_files * BYTES_PER_ENTRY:
        raise DatasetError(f"{path} has a directory of {n_bytes:,} bytes; expected at most {max_files:,} files")
    with zipfile.ZipFile(content) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if entry.external_attr >> 16 & 0xF000 == LINK:
                skipped.append(entry.filename)
                continue
            if entry.compress_type not in PLAIN:
                raise zipfile.BadZipFile(f"{entry.filename[:80]!r} is neither stored nor deflated")
            if entry.header_offset < 0:  # seek would raise OSError, as a sick disk does
                raise zipfile.BadZipFile(f"{entry.filename[:80]!r} begins before the file")
            with archive.open(entry) as member:
                yield entry.filename, member


class _Bounded(tarfile.TarInfo):
    """A header whose long name or fields are read only up to a size: tarfile would take as much memory as they say."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Any:
        position = archive.fileobj.tell()
        header = archive.fileobj.read(tarfile.BLOCKSIZE)
        archive.fileobj.seek(position)
        if len(header) == tarfile.BLOCKSIZE and header[156:157] in (b"L", b"K", b"x", b"g", b"X"):
            size = tarfile.nti(header[124:136])  # type: ignore[attr-defined]
            if not 0 <= size <= MAX_TAR_HEADER:
                raise tarfile.ReadError(f"a header of {size:,} bytes")
        return super().fromtarfile(archive)


def _in_tar(path: Path, content: BinaryIO, max_files: int, skipped: list[str]) -> Iterator[Member]:
    del path
    with tarfile.open(fileobj=content, mode="r:*", tarinfo=_Bounded) as archive:
        for number, entry in enumerate(archive):
            if number >= 2 * max_files:  # a tar has folders, too
                raise tarfile.ReadError(f"more than {2 * max_files:,} entries")
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all of them
            if entry.isdir():
                continue
            member = archive.extractfile(entry) if entry.isreg() else None
            if member is None:
                skipped.append(entry.name)
                continue
            with member:
                yield entry.name, member
