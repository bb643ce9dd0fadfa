"""Join the rings of a mask into one closed contour, for formats without holes and parts.

Each ring but the first gets a bridge of zero width to the nearest corner of earlier ones, so the enclosed area is
the same by the even-odd and the winding rule; short ones, as readers draw edges, too. The bridges of many rings are
sought at once, in square cells that halve at each level: pairs of cells that are too far apart are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.masks.polygons import Contour, Ring

AT_ONCE = 2**14  # corners of rings with bridges that are sought at once, but for larger rings: bounds the memory
Numbers = NDArray[np.int64]


def joined_contour(rings: Sequence[Ring]) -> Contour:
    """One closed contour [n, 2] along all rings. Of bridges of one length the first corners' is taken."""
    contours = [contour for ring in rings for contour in (ring.exterior, *ring.holes) if len(contour)]
    if len(contours) < 2:
        return contours[0] if contours else np.zeros((0, 2), np.int64)
    corners = np.concatenate(contours)
    begins = np.cumsum([0, *map(len, contours)])
    return corners[_walk(begins.tolist(), _bridges(corners - corners.min(0), begins))]


def _walk(begins: Sequence[int], bridges: Sequence[tuple[int, int]]) -> list[int]:
    """Numbers of corners along the first ring; where a bridge begins, around the other ring and back."""
    rings_at: dict[int, list[int]] = {}
    for ring, (here, _) in enumerate(bridges, 1):
        rings_at.setdefault(here, []).append(ring)
    walked, ahead = [], [*reversed(range(begins[1]))]
    while ahead:
        walked.append(here := ahead.pop())
        for ring in rings_at.pop(here, ()):
            there = bridges[ring - 1][1]
            around = [*range(there, begins[ring + 1]), *range(begins[ring], there), there, here]
            ahead += reversed(around)
    return walked


def _bridges(corners: Contour, begins: Numbers) -> list[tuple[int, int]]:
    """For each ring but the first the corner of a ring before it, and its own, that are nearest to each other."""
    n_levels = int(corners.max()).bit_length() + 1
    codes = _interleaved(corners, n_levels)
    before = _Cells.of(np.arange(len(codes)), codes, np.zeros(len(codes), np.int64), n_levels)
    ring_of = np.repeat(np.arange(len(begins) - 1), np.diff(begins))
    bridges: list[tuple[int, int]] = []
    while len(bridges) < len(begins) - 2:
        first = len(bridges) + 1
        last = max(first + 1, int(np.searchsorted(begins, begins[first] + AT_ONCE)) - 1)
        some = np.arange(begins[first], begins[last])
        own = _Cells.of(some, codes[some], ring_of[some], n_levels)
        bridges += _nearest(corners, begins[ring_of], own, before)
    return bridges


def _interleaved(corners: Contour, bits: int) -> Numbers:
    """Numbers with the bits of x and y in turn: shifted by two, they name the cells of the next level."""
    codes: Numbers = np.zeros(len(corners), np.int64)
    for bit in range(bits):
        codes |= ((corners >> bit & 1) << (2 * bit) + np.arange(2)).sum(1)
    return codes


class _Cells(NamedTuple):
    """The cells of corners at each level, from single places on; corners of one cell lie side by side in the next."""

    corners: Sequence[Numbers]  # in each cell, the one with the lowest number
    inside: Sequence[Numbers]  # begin of each cell's at the level below; one more at the end

    @classmethod
    def of(cls, numbers: Numbers, codes: Numbers, kinds: Numbers, n_levels: int) -> _Cells:
        """Cells of corners; a cell has corners of one kind."""
        order = np.lexsort((codes, kinds))
        numbers, codes, kinds = numbers[order], codes[order], kinds[order]
        corners, inside, below = [], [], np.arange(len(codes))
        for level in range(n_levels):
            cells = codes >> 2 * level
            is_new = np.concatenate([[True], (np.diff(cells) != 0) | (np.diff(kinds) != 0)])
            begins = np.flatnonzero(is_new)
            corners.append(np.minimum.reduceat(numbers, begins))
            inside.append(np.append(np.searchsorted(below, begins), len(below)))
            below = begins
        return cls(corners, inside)

    def within(self, level: int, cells: Numbers) -> tuple[Numbers, Numbers]:
        """Cells in the cells of a level: the first ones, and how many."""
        begins = self.inside[level]
        return begins[cells], begins[cells + 1] - begins[cells]


def _nearest(corners: Contour, begin_of: Numbers, own: _Cells, before: _Cells) -> Iterator[tuple[int, int]]:
    """The bridges of the rings in `own`, in their order; `begin_of`: the first corner of each corner's ring."""
    top = len(own.corners) - 1
    mine, other = np.arange(len(own.corners[top])), np.zeros(len(own.corners[top]), np.int64)
    for level in range(top, -1, -1):
        if level < top:
            mine, other = _pairs_within(own.within(level + 1, mine), before.within(level + 1, other))
        here, there = before.corners[level][other], own.corners[level][mine]
        ring = begin_of[there]
        distance = np.abs((corners[here] >> level) - (corners[there] >> level)) << level
        least = (np.maximum(distance - (1 << level) + 1, 0) ** 2).sum(1)
        most = ((distance + (1 << level) - 1) ** 2).sum(1)
        most[here >= ring] = np.iinfo(np.int64).max  # no corner of a ring before it
        groups = np.flatnonzero(np.diff(ring, prepend=-1))
        bound = np.repeat(np.minimum.reduceat(most, groups), np.diff(np.append(groups, len(ring))))
        keep = (least <= bound) & (here < ring)
        mine, other = mine[keep], other[keep]
    here, there = before.corners[0][other], own.corners[0][mine]
    order = np.lexsort((there, here, begin_of[there]))
    firsts = order[np.diff(begin_of[there[order]], prepend=-1) != 0]
    return zip(here[firsts].tolist(), there[firsts].tolist(), strict=True)


def _pairs_within(mine: tuple[Numbers, Numbers], other: tuple[Numbers, Numbers]) -> tuple[Numbers, Numbers]:
    """Pairs of the cells within both cells of each pair, in the order of the pairs."""
    counts = mine[1] * other[1]
    pair = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    return mine[0][pair] + place // other[1][pair], other[0][pair] + place % other[1][pair]
