"""Write files atomically: after a crash a file has its old or its new content."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

READABLE = 0o644  # the worker that serves the weights may be another user
PRIVATE = 0o600


def private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter; one that is there becomes so."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(OSError):  # a volume that Kubernetes mounts belongs to root, and some disks have no modes
        path.chmod(0o700)


def private_file(path: Path) -> None:
    """Make an empty file that only its owner may read; one that is there becomes so, and keeps its content."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
    except FileExistsError:  # never opened: to close it would end the process's own locks on it
        with suppress(OSError):
            path.chmod(PRIVATE)


def write_durably(path: Path, write: Callable[[Path], object], mode: int = READABLE) -> None:
    """Write a file atomically and durably; `write` gets a temporary path."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        write(fresh)
        fresh.chmod(mode)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):  # a partial file would use up a full disk
            fresh.unlink(missing_ok=True)
        raise
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # makes the rename durable
    finally:
        os.close(folder)
