"""Rows, file by file, for what is written of them; and file names for their ids."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lexiseg_model.types import Rle
from lexiseg_service.commands.bulk.plan import Destination, Size, rows_name
from lexiseg_service.commands.bulk.rows import OK, Row, decode

UNSAFE = re.compile(r"[^\w.\-]+")


def answers(destination: Destination, size: Size) -> Iterator[Row]:
    """The rows with an answer, in the order of the plan; those of one file are in memory at a time."""
    for chunk in range(size.chunks):
        yield from answers_of(destination, chunk)


def answers_of(destination: Destination, chunk: int) -> list[Row]:
    """Those of one chunk."""
    content = destination.read(rows_name(chunk))
    assert content is not None  # it was counted
    return [row for row in decode(content) if row["status"] == OK]


def rle_of(segment: Row) -> Rle:
    """The mask of a row's segment."""
    height, width = segment["rle"]["size"]
    x, y, w, h = segment["bbox"]
    return Rle((height, width), segment["rle"]["counts"], segment["area"], (x, y, w, h))


class Names:
    """File names for ids, each once: folders stay, an address becomes one name, what is unsafe in a name becomes _."""

    def __init__(self, unsafe: re.Pattern[str] = UNSAFE) -> None:
        self._unsafe = unsafe
        self._taken: set[str] = set()

    def of(self, id_: str) -> str:
        """Without a suffix. Two pictures that differ only in that get two names."""
        parts = [id_] if "://" in id_ else id_.split("/")
        kept = [part for part in parts if part not in ("", ".", "..")] or ["_"]
        head, dot, _ = kept[-1].rpartition(".")
        if dot and head.strip("."):
            kept[-1] = head
        stem = "/".join(self._unsafe.sub("_", part).lstrip(".") or "_" for part in kept)
        name, number = stem, 2
        while name in self._taken:
            name, number = f"{stem}-{number}", number + 1
        self._taken.add(name)
        return name
