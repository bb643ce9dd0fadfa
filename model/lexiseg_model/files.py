"""Write files atomically: after a crash a file has its old or its new content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

READABLE = 0o644  # the worker that serves the weights may be another user


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    fresh = path.with_name(f".{path.name}")
    fresh.write_bytes(content)
    os.replace(fresh, path)


def write_durably(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically and durably, readable for other users; `write` gets a temporary path."""
    fresh = path.with_name(f"{path.name}.new")
    write(fresh)
    fresh.chmod(READABLE)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # makes the rename durable
    finally:
        os.close(folder)
