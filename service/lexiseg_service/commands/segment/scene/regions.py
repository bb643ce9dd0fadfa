"""Connected regions (by sides) of a label map that comes in blocks, row by row; outlines wait in a file on disk."""

from __future__ import annotations

import itertools
import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio.features
import shapely
import shapely.geometry
from numpy.typing import NDArray

from lexiseg_model.tasks.blending import Box

ROWS_AT_ONCE = 10_000  # of an update


class Region(NamedTuple):
    """`value` of its pixels, mean `score`, pixels, and outline in pixels of the picture."""

    value: int
    score: float
    area: int
    outline: shapely.MultiPolygon


class _Border(NamedTuple):
    """Numbers and values of the pixels on one side of a block; 0 is nobody."""

    pieces: NDArray[np.int32]
    values: NDArray[np.int32]


class Regions:
    """Takes blocks and gives regions. In memory are 4 bytes for each piece of a region and the borders of one row."""

    def __init__(self, path: Path) -> None:
        self._parents = array("i", [0])  # of pieces, which are numbered from 1: disjoint sets
        self._right: tuple[Box, _Border] | None = None
        self._bottom: dict[int, tuple[Box, _Border]] = {}  # by the left side of a block
        self._store = sqlite3.connect(path, isolation_level=None)
        # A run that is killed begins anew: nothing here has to outlive a power cut.
        for rule in ("journal_mode = off", "synchronous = off", "cache_size = -16384", "temp_store = file"):
            self._store.execute(f"pragma {rule}")
        self._store.execute(
            "create table piece (number integer primary key, root integer, value integer, score real, area integer, "
            "outline blob)"
        )

    def add(self, box: Box, labels: NDArray[np.integer], probability: NDArray[np.float32]) -> None:
        """A block: labels [h, w], 0 for nobody, and the probability of each."""
        values = labels.astype(np.int32)
        shapes = list(rasterio.features.shapes(values, mask=values > 0, connectivity=4))
        first = len(self._parents)
        self._parents.extend(range(first, first + len(shapes)))
        pieces = np.zeros_like(values)
        if shapes:
            numbered = ((outline, number) for number, (outline, _) in enumerate(shapes, first))
            rasterio.features.rasterize(numbered, out=pieces)
        places = (pieces - (first - 1)).clip(0).ravel()
        areas = np.bincount(places, minlength=len(shapes) + 1)[1:]
        votes = np.bincount(places, probability.ravel(), len(shapes) + 1)[1:]
        rows = (
            (number, number, int(value), vote, area, _placed(outline, box))
            for number, (outline, value), vote, area in zip(
                itertools.count(first), shapes, votes.tolist(), areas.tolist(), strict=False
            )
        )
        self._store.execute("begin")
        self._store.executemany("insert into piece values (?, ?, ?, ?, ?, ?)", rows)
        self._store.execute("commit")
        self._join(box, pieces, values)

    def merged(self, least: int) -> Iterator[Region]:
        """Every region of at least so many pixels, one at a time."""
        others = ((root, piece) for piece in range(1, len(self._parents)) if (root := self._find(piece)) != piece)
        self._store.execute("begin")
        while some := list(itertools.islice(others, ROWS_AT_ONCE)):
            self._store.executemany("update piece set root = ? where number = ?", some)
        self._store.execute("commit")
        self._store.execute("create index by_root on piece (root)")
        rows = self._store.execute("select root, value, score, area, outline from piece order by root")
        for _, group in itertools.groupby(rows, lambda row: row[0]):
            region = _region([row[1:] for row in group])
            if region.area >= least:
                yield region

    def close(self) -> None:
        """Lets go of the file."""
        self._store.close()

    def _join(self, box: Box, pieces: NDArray[np.int32], values: NDArray[np.int32]) -> None:
        """Pieces of one value that touch across the border to the block on the left, or above, are one."""
        left, above = self._right, self._bottom.get(box.left)
        if left is not None and (left[0].top, left[0].right) == (box.top, box.left):
            self._touch(left[1], _Border(pieces[:, 0], values[:, 0]))
        if above is not None and above[0].bottom == box.top:
            self._touch(above[1], _Border(pieces[0], values[0]))
        self._right = box, _Border(pieces[:, -1].copy(), values[:, -1].copy())
        self._bottom[box.left] = box, _Border(pieces[-1].copy(), values[-1].copy())

    def _touch(self, one: _Border, other: _Border) -> None:
        same = (one.values == other.values) & (one.values > 0)
        for pair in np.unique(np.stack([one.pieces[same], other.pieces[same]], 1), axis=0).tolist():
            first, second = sorted(map(self._find, pair))
            self._parents[second] = first

    def _find(self, piece: int) -> int:
        """The first of all pieces that are one with this."""
        while self._parents[piece] != piece:
            self._parents[piece] = self._parents[self._parents[piece]]
            piece = self._parents[piece]
        return piece


def _placed(outline: dict[str, object], box: Box) -> bytes:
    """From the coordinates of a block to those of the picture, as WKB."""
    moved = shapely.transform(shapely.geometry.shape(outline), lambda xy: xy + np.array([box.left, box.top]))
    wkb: bytes = shapely.to_wkb(moved)
    return wkb


def _region(pieces: Iterable[tuple[int, float, int, bytes]]) -> Region:
    values, votes, areas, outlines = zip(*pieces, strict=True)
    outline = shapely.union_all(shapely.from_wkb(outlines))
    if len(outlines) > 1:  # corners that a border between blocks left on a straight line
        outline = shapely.simplify(outline, 0)
    if isinstance(outline, shapely.Polygon):
        outline = shapely.MultiPolygon([outline])
    return Region(values[0], sum(votes) / sum(areas), sum(areas), outline)
