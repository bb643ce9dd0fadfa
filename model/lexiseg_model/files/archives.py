"""Zips and tars. Foreign ones are read within bounds, and plain errors say what is wrong with them.

zipfile reads a directory whole and tarfile a long name, of whatever size the file states: a bound comes first.
"""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from lexiseg_model.errors import TooManyEntriesError

PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what zipfile unpacks only as far as it is asked for
MAX_END_BYTES = 22 + (1 << 16)  # of the record at a zip's end, and its comment
ZIP64_RECORD_BYTES = 56
# What the parsers raise, apart from their own errors, for invalid numbers and names and for headers without an end.
MALFORMED = (ValueError, LookupError, ArithmeticError, RecursionError, NotImplementedError, struct.error)
MAX_TAR_HEADER = 1 << 20  # bytes of a long name or of PAX fields
MAX_TAR_FILE = 1 << 40  # bytes
LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


def open_zip(content: BinaryIO, max_directory: int) -> zipfile.ZipFile:
    """Open a zip with a directory, which is read whole, within bounds, and every entry in it; `content` stays open."""
    bounded: Any = _DirectoryOnly(content, max_directory)
    try:
        archive = zipfile.ZipFile(bounded)
    except MALFORMED as error:
        raise zipfile.BadZipFile(f"its directory cannot be read: {error}") from None
    archive.fp, n_bytes = content, content.seek(0, io.SEEK_END)
    for entry in archive.infolist():
        if not 0 <= entry.header_offset < n_bytes:  # seek would raise OSError, as a sick disk does
            raise zipfile.BadZipFile(f"{entry.filename[:80]!r} begins outside the file")
    if sum(entry.compress_size for entry in archive.infolist()) > n_bytes:
        raise zipfile.BadZipFile("its entries overlap")  # 1 MB would be read as 500: each holds the next ones
    return archive


class _DirectoryOnly:
    """A zip while its directory is read: bounds what zipfile asks for, as two records at the end may state a size."""

    def __init__(self, content: BinaryIO, max_directory: int) -> None:
        self.tell, self.seekable = content.tell, content.seekable
        self._content = content
        self._max_directory = max_directory

    def read(self, n_bytes: int | None = None) -> bytes:
        if n_bytes is None:  # the end, which zipfile has gone to
            return self._content.read(MAX_END_BYTES)
        if not 0 <= n_bytes <= max(self._max_directory, ZIP64_RECORD_BYTES):
            raise TooManyEntriesError(f"a directory of {n_bytes:,} bytes")
        return self._content.read(n_bytes)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset < 0:
            raise zipfile.BadZipFile("its directory begins before the file")
        return self._content.seek(offset, whence)


def parts_of(name: str) -> tuple[str, ...] | None:
    """The parts of an entry's name, whichever way its slashes lean; None: it leads out of the archive."""
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    return None if plain.startswith("/") or ".." in parts or "\0" in name else parts


def open_tar(content: BinaryIO, *, compressed: bool = False) -> tarfile.TarFile:
    """Open a tar and read its headers only up to MAX_TAR_HEADER bytes; gzip, bzip2 and xz only if `compressed`."""
    with _malformed_named():
        return tarfile.open(fileobj=content, mode="r:*" if compressed else "r:", tarinfo=_Bounded)


def entries_of(archive: tarfile.TarFile, max_entries: int | None = None) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of an open tar, folders and links among them, until it is damaged; none is kept."""
    with _malformed_named():
        for number, entry in enumerate(archive):
            if number == max_entries:
                raise TooManyEntriesError(f"more than {max_entries:,} entries")
            if not 0 <= entry.size <= MAX_TAR_FILE:  # the next header would be before this one, or on no disk
                raise tarfile.ReadError(f"an entry of {entry.size:,} bytes")
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all of them
            yield entry


@contextmanager
def _malformed_named() -> Iterator[None]:
    try:
        yield
    except MALFORMED as error:
        raise tarfile.ReadError(f"a header cannot be read: {error}") from None


def files_in(content: BinaryIO, max_entries: int | None = None) -> Iterator[tarfile.TarInfo]:
    """Yield the files of an uncompressed tar until it is damaged; folders and links count as entries, too."""
    with open_tar(content) as archive:
        yield from (entry for entry in entries_of(archive, max_entries) if entry.isfile())
        # tarfile takes an unreadable header for the end, which is a block of zeros.
        content.seek(archive.offset)
        if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("a header cannot be read")


class _Bounded(tarfile.TarInfo):
    """A header with bounded long names and fields: tarfile would take as much memory as it states."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        header = super().frombuf(buf, encoding, errors)
        if header.type in LONG_HEADERS and not 0 <= header.size <= MAX_TAR_HEADER:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to a tar, without time and owner: so the bytes of the tar are reproducible."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
