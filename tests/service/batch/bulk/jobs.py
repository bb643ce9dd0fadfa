"""Pictures for bulk jobs, and the rows that a job wrote."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tests import pictures

NAMES = ("china", "flower", "chelsea")


def picture(number: int) -> bytes:
    """One of some small photographs."""
    return pictures.encoded(pictures.small(NAMES[number % len(NAMES)], 64 + number % 5), "JPEG")


def folder(root: Path, count: int) -> Path:
    """Photographs, two folders deep."""
    for number in range(count):
        place = root / f"day-{number % 2}" / f"{number:03d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(number))
    return root


def shard(path: Path, count: int) -> Path:
    """Photographs in a tar as webdataset has it."""
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            for suffix, content in (("jpg", picture(number)), ("txt", b"words")):
                member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    """A table in row groups."""
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def rows(destination: Path) -> list[dict[str, Any]]:
    """All rows of a job, in the order of its files."""
    files = sorted((destination / "rows").glob("*.parquet"))
    return [row for file in files for row in pyarrow.parquet.ParquetFile(file).read().to_pylist()]
