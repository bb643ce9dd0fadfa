"""Zips. Foreign ones are read within bounds, and plain errors say what is wrong with them.

zipfile reads a directory whole, of whatever size the file states: a bound comes first.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from lexiseg_model.errors import TooManyEntriesError

PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what zipfile unpacks only as far as it is asked for
MAX_END_BYTES = 22 + (1 << 16)  # of the record at a zip's end, and its comment
ZIP64_RECORD_BYTES = 56
# What the parsers raise, apart from their own errors, for invalid numbers and names and for headers without an end.
MALFORMED = (ValueError, LookupError, ArithmeticError, RecursionError, NotImplementedError, struct.error)


def open_zip(content: BinaryIO, max_directory: int) -> zipfile.ZipFile:
    """Open a zip, with ZIP64 or without; each entry begins within it. The caller closes `content`.

    Raises:
        TooManyEntriesError: its directory, which is read whole, has more than `max_directory` bytes.
        zipfile.BadZipFile: it is no zip, damaged or cut off.
    """
    bounded: Any = _DirectoryOnly(content, max_directory)
    try:
        archive = zipfile.ZipFile(bounded)
    except MALFORMED as error:
        raise zipfile.BadZipFile(f"its directory cannot be read: {error}") from None
    archive.fp, n_bytes = content, content.seek(0, io.SEEK_END)
    for entry in archive.infolist():
        if not 0 <= entry.header_offset < n_bytes:  # seek would raise OSError, as a sick disk does
            where = "before" if entry.header_offset < 0 else "behind"
            raise zipfile.BadZipFile(f"{entry.filename[:80]!r} begins {where} the file")
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
