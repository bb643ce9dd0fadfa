"""Write and read the files of uncompressed tars."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import BinaryIO


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to a tar, without time and owner: so the bytes of the tar are reproducible."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def files_in(content: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the files of an uncompressed tar.

    Raises:
        tarfile.TarError: it is damaged, cut off or compressed; files before the damage were yielded.
    """
    with tarfile.open(fileobj=content, mode="r:") as archive:
        yield from (member for member in archive if member.isfile())
        # tarfile takes an unreadable header for the end, which is a block of zeros.
        content.seek(archive.offset)
        if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("a header cannot be read")
