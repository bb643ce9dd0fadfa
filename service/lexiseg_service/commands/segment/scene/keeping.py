"""Pieces on disk until the last window is done: then those that are one come out together, one object at a time."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import shapely

from lexiseg_service.commands.segment.scene.finding import Found

AT_ONCE = 10_000  # rows of an update


class Object(NamedTuple):
    """Pieces of one class that are one; `outline` in pixels of the picture, `score` weighed by pixels."""

    class_index: int
    score: float
    area: int
    outline: shapely.MultiPolygon


class Kept:
    """Pieces in a file, which is gone when this is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = sqlite3.connect(path, isolation_level=None)
        # Whoever is killed begins anew: nothing here has to outlive a power cut.
        for rule in ("journal_mode = off", "synchronous = off", "cache_size = -16384", "temp_store = file"):
            self._store.execute(f"pragma {rule}")
        self._store.execute(
            "create table piece (number integer primary key, root integer, class integer, score real, area integer, "
            "outline blob)"
        )

    def add(self, found: Iterable[Found]) -> None:
        """Pieces of one window."""
        self._store.execute("begin")
        self._store.executemany(
            "insert into piece values (?, ?, ?, ?, ?, ?)", ((each.number, each.number, *each[1:]) for each in found)
        )
        self._store.execute("commit")

    def objects(self, joined: Iterable[tuple[int, int]], least: int) -> Iterator[Object]:
        """What the pieces come to.

        Args:
            joined: root and number of every piece that is one with an earlier.
            least: pixels that an object has at least.
        """
        self._store.execute("begin")
        pairs = iter(joined)
        while some := list(itertools.islice(pairs, AT_ONCE)):
            self._store.executemany("update piece set root = ? where number = ?", some)
        self._store.execute("commit")
        self._store.execute("create index by_root on piece (root)")
        rows = self._store.execute("select root, class, score, area, outline from piece order by root")
        for _, pieces in itertools.groupby(rows, lambda row: row[0]):
            whole = _whole([row[1:] for row in pieces])
            if whole.area >= least:
                yield whole

    def close(self) -> None:
        """Deletes the file."""
        self._store.close()
        self._path.unlink(missing_ok=True)


def _whole(pieces: list[tuple[int, float, int, bytes]]) -> Object:
    area = sum(each[2] for each in pieces)
    score = sum(each[1] * each[2] for each in pieces) / area
    outlines = shapely.from_wkb([each[3] for each in pieces])
    outline = outlines[0] if len(pieces) == 1 else shapely.union_all(outlines)
    # Corners that a border between windows left on a straight line.
    outline = shapely.simplify(outline, 0) if len(pieces) > 1 else outline
    if isinstance(outline, shapely.Polygon):
        outline = shapely.MultiPolygon([outline])
    return Object(pieces[0][0], score, area, outline)
