"""Tars. Foreign ones are read within bounds, and plain errors say what is wrong with them.

tarfile reads a long name of whatever size the file states: a bound comes first.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from lexiseg_model.errors import TooManyEntriesError
from lexiseg_model.files.archives import MALFORMED

MAX_TAR_HEADER = 1 << 20  # bytes of a long name or of PAX fields
MAX_TAR_FILE = 1 << 40  # bytes
LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


def open_tar(content: BinaryIO, *, compressed: bool = False) -> tarfile.TarFile:
    """Open a tar and read its headers only up to MAX_TAR_HEADER bytes; gzip, bzip2 and xz only if `compressed`.

    Raises:
        tarfile.TarError: it is no tar, or its first header is too large.
    """
    with _malformed_named():
        return tarfile.open(fileobj=content, mode="r:*" if compressed else "r:", tarinfo=_Bounded)


def entries_of(archive: tarfile.TarFile, max_entries: int | None = None) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of an open tar, folders and links among them; none is kept.

    Raises:
        TooManyEntriesError: it has more.
        tarfile.TarError: it is damaged; entries before the damage were yielded.
    """
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
    """Yield the files of an uncompressed tar.

    Raises:
        TooManyEntriesError: it has more than `max_entries`, folders and links counted.
        tarfile.TarError: it is damaged, cut off or compressed; files before the damage were yielded.
    """
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
