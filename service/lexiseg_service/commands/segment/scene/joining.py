"""Which pieces of neighbouring windows are one object.

Regions of what does not come in pieces (semantic, stuff) are one where they touch across the border of two cores.
Objects are one where both windows saw them: in the strip that both cover, masks of one class that share at least half
of the smaller one's pixels there.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_service.commands.segment.scene.grid import Cell

AGREE = 0.5  # share of the smaller mask in the common strip


class Roots:
    """Disjoint sets of pieces; 4 bytes each."""

    def __init__(self) -> None:
        self._parent = array("i", [0])  # 0 is nobody

    def add(self, count: int) -> int:
        """So many new pieces, each alone; the number of the first."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return first

    def find(self, piece: int) -> int:
        """The piece that stands for all that are one with this."""
        while self._parent[piece] != piece:
            self._parent[piece] = self._parent[self._parent[piece]]
            piece = self._parent[piece]
        return piece

    def join(self, one: int, other: int) -> None:
        """Both are one; the earlier stands for them."""
        first, second = sorted((self.find(one), self.find(other)))
        self._parent[second] = first

    def joined(self) -> Iterable[tuple[int, int]]:
        """Pieces that another stands for, each with that one."""
        return ((self.find(piece), piece) for piece in range(1, len(self._parent)) if self.find(piece) != piece)


@dataclass(frozen=True)
class Pieces:
    """What one window found, by numbers of pieces: `regions` in its core, `objects` in all of it; 0 is nobody.

    `classes` of each piece counts from the number `first`.
    """

    cell: Cell
    regions: NDArray[np.int32]  # [core height, core width]
    objects: NDArray[np.int32] | None  # [window height, window width]; None where there are none
    first: int
    classes: NDArray[np.int32]


@dataclass(frozen=True)
class _Kept:
    """Of a window, what its neighbours ask for; packed, for a whole row of windows is kept."""

    pieces: Pieces
    bottom: NDArray[np.int32]  # [core width]
    right: NDArray[np.int32]  # [core height]
    packed: bytes

    def objects(self) -> NDArray[np.int32]:
        """[h, w] of the window."""
        return np.frombuffer(zlib.decompress(self.packed), np.int32).reshape(self.pieces.cell.window.size)


class Seams:
    """Joins windows to their neighbours on the left and above, as they come row by row."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._row: dict[int, _Kept] = {}  # by column: the latest window of each

    def add(self, pieces: Pieces) -> None:
        """One window after the other, row by row."""
        cell = pieces.cell
        left = self._row.get(cell.column - 1) if cell.column else None
        above = self._row.get(cell.column)
        if left is not None and left.pieces.cell.row == cell.row:
            self._touch(left.pieces, left.right, pieces, pieces.regions[:, 0])
            self._agree(left, pieces)
        if above is not None:
            self._touch(above.pieces, above.bottom, pieces, pieces.regions[0])
            self._agree(above, pieces)
        packed = b"" if pieces.objects is None else zlib.compress(pieces.objects.tobytes(), 1)
        slim = Pieces(cell, np.zeros((0, 0), np.int32), None, pieces.first, pieces.classes)
        bottom, right = pieces.regions[-1].copy(), pieces.regions[:, -1].copy()
        self._row[cell.column] = _Kept(slim, bottom, right, packed)

    def skip(self, cell: Cell) -> None:
        """A window without pixels: nothing goes on through it."""
        self._row.pop(cell.column, None)

    def _touch(self, one: Pieces, ours: NDArray[np.int32], other: Pieces, theirs: NDArray[np.int32]) -> None:
        both = (ours > 0) & (theirs > 0)
        for a, b in np.unique(np.stack([ours[both], theirs[both]], 1), axis=0).tolist():
            if _class_of(one, a) == _class_of(other, b):
                self._roots.join(a, b)

    def _agree(self, kept: _Kept, pieces: Pieces) -> None:
        if not kept.packed or pieces.objects is None:
            return
        strip = kept.pieces.cell.window.meet(pieces.cell.window)
        ours = kept.objects()[strip.within(kept.pieces.cell.window)]
        theirs = pieces.objects[strip.within(pieces.cell.window)]
        areas = dict(_counts(ours)) | dict(_counts(theirs))
        both = (ours > 0) & (theirs > 0)
        pairs, shared = np.unique(np.stack([ours[both], theirs[both]], 1), axis=0, return_counts=True)
        for (a, b), pixels in zip(pairs.tolist(), shared.tolist(), strict=True):
            if _class_of(kept.pieces, a) == _class_of(pieces, b) and pixels >= AGREE * min(areas[a], areas[b]):
                self._roots.join(a, b)


def _class_of(pieces: Pieces, number: int) -> Any:
    return pieces.classes[number - pieces.first]


def _counts(numbers: NDArray[np.int32]) -> Iterable[tuple[int, int]]:
    values, counts = np.unique(numbers[numbers > 0], return_counts=True)
    return zip(values.tolist(), counts.tolist(), strict=True)
