"""Pictures in a zip or an uncompressed tar.

Nothing is unpacked: pictures are read from the archive one by one, up to the limit of an image. So a name in an archive
is never a path, and a bomb costs what one picture may.
"""

from __future__ import annotations

import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.errors import TooManyEntriesError
from lexiseg_model.files.archives import PLAIN, files_in, open_zip
from lexiseg_model.files.names import as_text, is_hidden
from lexiseg_service.batch.sources.source import Picture, SourceKind, check_size
from lexiseg_service.errors import InvalidValue, UndecodableImage
from lexiseg_service.gateway.uploaded_archive import ARCHIVE, BYTES_PER_ENTRY, parts_inside

GZIP = b"\x1f\x8b"
EXPECTED = "a whole zip or an uncompressed tar"


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
