"""Rows, file by file, for what is written of them; and file names for their ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing

import numpy as np

from lexiseg_model.types import Rle
from lexiseg_service.commands.bulk.digests import Digests, place_of, repeated, short_digest
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


def ids_of_answers(destination: Destination, size: Size) -> Iterator[str]:
    """Of the rows with an answer; nothing else is read of the files."""
    for chunk in range(size.chunks):
        content = destination.read(rows_name(chunk))
        assert content is not None  # it was counted
        yield from (row["id"] for row in decode(content, ["id", "status"]) if row["status"] == OK)


def rle_of(segment: Row) -> Rle:
    """The mask of a row's segment."""
    height, width = segment["rle"]["size"]
    x, y, w, h = segment["bbox"]
    return Rle((height, width), segment["rle"]["counts"], segment["area"], (x, y, w, h))


class Names:
    """File names for ids, each once: folders stay, an address becomes one name, what is unsafe in a name becomes _.

    All are known by their digests, on disk; in memory are those that several ids would have, 12 bytes each.
    """

    def __init__(self, ids: Iterable[str], unsafe: re.Pattern[str] = UNSAFE) -> None:
        """
        Args:
            ids: all that will be named.
            unsafe: what becomes _ in the parts of a name.
        """
        self._unsafe = unsafe
        with closing(Digests()) as digests:
            for id_ in ids:
                digests.add(self._stem(id_))
            self._all = digests.ordered()
        self._shared = repeated(self._all)
        self._given = np.zeros(len(self._shared), np.uint32)

    def of(self, id_: str) -> str:
        """Without a suffix. Of ids that differ only in that, all but the first that is asked for get a number."""
        stem = self._stem(id_)
        place = place_of(self._shared, short_digest(stem))
        if place is None:
            return stem
        self._given[place] += 1
        while self._given[place] > 1:
            name = f"{stem}-{self._given[place]}"
            if place_of(self._all, short_digest(name)) is None:
                return name
            self._given[place] += 1
        return stem

    def _stem(self, id_: str) -> str:
        parts = [id_] if "://" in id_ else id_.split("/")
        kept = [part for part in parts if part not in ("", ".", "..")] or ["_"]
        head, dot, _ = kept[-1].rpartition(".")
        if dot and head.strip("."):
            kept[-1] = head
        return "/".join(self._unsafe.sub("_", part).lstrip(".") or "_" for part in kept)
