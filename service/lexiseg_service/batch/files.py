"""Files of jobs, in a folder or an object store: what clients upload, and the lines of answers."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from lexiseg_model.errors import OptionError
from lexiseg_model.files.atomic import PRIVATE, private_folder, write_durably
from lexiseg_service.errors import InvalidValue

CHUNK = 2**20  # bytes


def open_store(url: str, field: str) -> tuple[Any, str]:
    """The file system of a path or an fsspec URL, and the path in it."""
    from lexiseg_model.catalogue import store  # imports fsspec

    try:
        return store.open_store(url)
    except OptionError as error:
        raise InvalidValue.of(field, url, f"a folder or s3://BUCKET/PREFIX ({error})") from None


class Files:
    """The files below one address; in a folder only their owner may read them. Methods block, and are thread-safe."""

    def __init__(self, url: str, field: str) -> None:
        self._store, self._root = open_store(url, field)
        self.folder = Path(self._root) if "://" not in url else None  # None: an object store
        if self.folder is not None:
            private_folder(self.folder)

    def address(self, name: str) -> str:
        return str(self._store.unstrip_protocol(f"{self._root}/{name}"))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, in a folder that is made."""
        if self.folder is None:
            self._store.pipe_file(f"{self._root}/{name}", content)
        else:
            write_durably(_placed(self.folder, name), lambda fresh: fresh.write_bytes(content), PRIVATE)

    def copy(self, name: str, source: BinaryIO) -> None:
        source.seek(0)
        if self.folder is None:
            target = self._store.open(f"{self._root}/{name}", "wb")
        else:
            flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY
            target = os.fdopen(os.open(_placed(self.folder, name), flags, PRIVATE), "wb")
        with target:
            while part := source.read(CHUNK):
                target.write(part)

    def read(self, name: str) -> bytes:
        return bytes(self._store.cat_file(f"{self._root}/{name}"))

    def remove(self, name: str) -> None:
        """Remove a folder with everything in it, if it is there."""
        if self.folder is None:
            with suppress(FileNotFoundError):
                self._store.rm(f"{self._root}/{name}", recursive=True)
            return
        shutil.rmtree(self.folder / name, ignore_errors=True)
        if (self.folder / name).exists():  # another process wrote or removed something meanwhile
            shutil.rmtree(self.folder / name)


def question_path(identity: str) -> str:
    """The place of a job's question among the files of jobs, with its archive and its parts."""
    return f"{identity}/question"


def _placed(root: Path, name: str) -> Path:
    *folders, last = name.split("/")
    for folder in folders:
        root /= folder
        root.mkdir(mode=0o700, exist_ok=True)
    return root / last
