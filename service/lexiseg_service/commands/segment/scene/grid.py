"""How a large picture is cut: windows that overlap, each with a core that is its alone.

The cores cover the picture without gaps; a window is its core and what lies around it, so that no pixel is judged at a
window's edge but at the picture's. Cores are `stride` wide and start at multiples of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

BLOCK = 16  # what sides of a GeoTIFF's tiles are multiples of; a core is one tile of the map that is written


class Box(NamedTuple):
    """Pixels [top, bottom) x [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    def within(self, other: Box) -> tuple[slice, slice]:
        """Where this box is in an array of another."""
        return (
            slice(self.top - other.top, self.bottom - other.top),
            slice(self.left - other.left, self.right - other.left),
        )

    def meet(self, other: Box) -> Box:
        """What both have; without an inside where they are apart."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )


class Cell(NamedTuple):
    """One window of the grid."""

    row: int
    column: int
    core: Box
    window: Box


@dataclass(frozen=True)
class Grid:
    """Of a picture of a size (height, width)."""

    size: tuple[int, int]
    window: int
    overlap: int

    @property
    def stride(self) -> int:
        """Side of a core: a multiple of `BLOCK`, so that neighbours overlap by `overlap` or a little more."""
        return max(BLOCK, (self.window - self.overlap) // BLOCK * BLOCK)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        return -(-self.size[0] // self.stride), -(-self.size[1] // self.stride)

    def cells(self) -> Iterator[Cell]:
        """Row after row."""
        rows, columns = self.shape
        for row in range(rows):
            top, bottom, above, below = self._span(row, self.size[0])
            for column in range(columns):
                left, right, before, after = self._span(column, self.size[1])
                yield Cell(row, column, Box(top, left, bottom, right), Box(above, before, below, after))

    def _span(self, number: int, length: int) -> tuple[int, int, int, int]:
        """Core and window along one side; at the picture's edge a window moves inwards and keeps its size."""
        start, end = number * self.stride, min((number + 1) * self.stride, length)
        side = min(self.window, length)
        first = min(max(0, start - (self.window - self.stride) // 2), length - side)
        return start, end, first, first + side
