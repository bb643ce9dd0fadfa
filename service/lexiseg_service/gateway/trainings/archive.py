"""Unpack the archive of a training: a zip of pictures with their labels."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lexiseg_model.file_names import as_text, is_hidden
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.jobs.files import CHUNK
from lexiseg_service.gateway.jobs.sources import ARCHIVE, PLAIN, open_zip, parts_inside

MAX_FILES = 20_000
MAX_DEPTH = 32  # folders
MAX_NAME_BYTES = 255  # of each part
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, UnicodeError)


class Entry(NamedTuple):
    """A file of an archive, and the parts of its path."""

    info: zipfile.ZipInfo
    parts: tuple[str, ...]


class Archive:
    """The files of a zip, without hidden ones.

    Raises:
        InvalidValue: no whole zip, too many files or bytes, one name twice, or a name that leads out of it, is too long
            or has control characters.
    """

    def __init__(self, content: BinaryIO, max_bytes: int) -> None:
        with _as_invalid():
            self._zip = open_zip(content, MAX_FILES)
        self._entries = list(_entries(self._zip))
        self.nbytes = sum(entry.info.file_size for entry in self._entries)  # zipfile reads no more of an entry
        if not self._entries:
            raise InvalidValue.of(ARCHIVE, "no files", "pictures with their labels")
        if self.nbytes > max_bytes:
            raise InvalidValue.of(ARCHIVE, f"{self.nbytes:,} bytes unpacked", f"at most {max_bytes:,}")
        _check_names(self._entries)

    def unpack(self, folder: Path) -> None:
        """Write the files into a new folder.

        Raises:
            InvalidValue: the zip is damaged.
            OSError: the disk is full, or the folder above was removed.
        """
        folder.mkdir()
        with _as_invalid():
            for info, parts in self._entries:
                target = folder.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with self._zip.open(info) as member, target.open("xb") as file:
                    while piece := member.read(CHUNK):
                        file.write(piece)


def _entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        parts = parts_inside(info.filename)
        if info.is_dir() or any(map(is_hidden, parts)):
            continue
        named = repr(as_text(info.filename)[:80])
        if info.compress_type not in PLAIN or info.flag_bits & 1:
            raise InvalidValue.of(ARCHIVE, f"{named}, compressed otherwise", "a zip, each file stored or deflated")
        is_long = len(parts) > MAX_DEPTH or any(len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in parts)
        if is_long or not parts:
            raise InvalidValue.of(ARCHIVE, f"the name {named}", f"{MAX_NAME_BYTES} bytes, {MAX_DEPTH} folders at most")
        if not all(part.isprintable() for part in parts):
            raise InvalidValue.of(ARCHIVE, f"the name {named}", "names of printable characters")
        yield Entry(info, parts)


def _check_names(entries: list[Entry]) -> None:
    """Each path once, and no file where another has a folder."""
    files: set[tuple[str, ...]] = set()
    for entry in entries:
        if entry.parts in files:
            raise InvalidValue.of(ARCHIVE, f"the name {entry.info.filename[:80]!r} twice", "each file once")
        files.add(entry.parts)
    for entry in entries:
        if any(entry.parts[:depth] in files for depth in range(1, len(entry.parts))):
            raise InvalidValue.of(ARCHIVE, f"{entry.info.filename[:80]!r} within a file", "files within folders")


@contextmanager
def _as_invalid() -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise InvalidValue.of(ARCHIVE, f"a file that is damaged or cut off ({error})", "a whole zip") from None
