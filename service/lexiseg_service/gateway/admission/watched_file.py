"""A file that is parsed again when it changes, for settings that change while the process runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from lexiseg_service.errors import InvalidValue

T = TypeVar("T")
logger = structlog.get_logger("lexiseg.files")
CHECK_SECONDS = 1.0
MAX_BYTES = 16 * 2**20


class WatchedFile(Generic[T]):
    """The content of a file, checked for changes at most once a second, when it is asked for.

    A file that was written within the last second may be incomplete: it is read at a later check, when it has not
    changed since. A file that disappears or cannot be parsed is logged once, and the previous content stays.

    Args:
        what: the name of the content in log messages.
        path: of the file; None: there is none, and the content stays.
        parse: reads and parses it; raises InvalidValue, OSError or UnicodeDecodeError.
        content: what was parsed at the start.
    """

    def __init__(self, what: str, path: Path | None, parse: Callable[[], T], content: T) -> None:
        self._what = what
        self._path = path
        self._parse = parse
        self._content = content
        self._read_version = self._last_version = _version(path)
        self._checked = time.monotonic()

    @property
    def content(self) -> T:
        """The newest content that could be parsed."""
        if self._path is not None and time.monotonic() - self._checked >= CHECK_SECONDS:
            self._check(self._path)
        return self._content

    def _check(self, path: Path) -> None:
        self._checked = time.monotonic()
        version, previous = _version(path), self._last_version
        self._last_version = version
        if version == self._read_version or (version != previous and _is_recent(version)):
            return
        self._read_version = version
        try:
            if version is not None and (not path.is_file() or version[2] > MAX_BYTES):  # a pipe would block
                raise InvalidValue(f"expected a file of at most {MAX_BYTES:,} bytes")
            self._content = self._parse()
        except (InvalidValue, OSError, UnicodeDecodeError) as error:
            logger.error(f"{self._what} cannot be read; the previous content stays", path=str(path), error=str(error))
            return
        logger.info(f"{self._what} read again", path=str(path))


def _version(path: Path | None) -> tuple[int, int, int] | None:
    """Modification time (ns), inode and size: they change with the content, also when a symbolic link is replaced."""
    try:
        stat = None if path is None else os.stat(path)
    except OSError:
        return None
    return None if stat is None else (stat.st_mtime_ns, stat.st_ino, stat.st_size)


def _is_recent(version: tuple[int, int, int] | None) -> bool:
    return version is not None and time.time() - version[0] / 1e9 < CHECK_SECONDS
