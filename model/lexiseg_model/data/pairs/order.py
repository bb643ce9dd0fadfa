"""The order in which pairs are drawn: a function of seed and position alone, so that nothing needs to be stored.

Every epoch shuffles the parts anew, takes as many of them together as make `TOGETHER` pairs, and shuffles within each
such group. So reading stays near on disk, and yet a position is found without walking there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError

TOGETHER = 40_000  # pairs that are shuffled among each other, at least; as in TCL's shuffle buffer
PARTS, PAIRS, REPLACEMENTS = 0, 1, 2  # what a random stream is for


class Place(NamedTuple):
    """Where a pair lies: the number-th of a part."""

    part: int
    number: int


class Order:
    """Positions 0, 1, 2, ... of an endless stream; each epoch has every pair once."""

    def __init__(self, sizes: Sequence[int], seed: int, together: int = TOGETHER) -> None:
        """
        Raises:
            DatasetError: there is no pair at all.
        """
        self.sizes = np.asarray(sizes, np.int64)  # [parts]
        self.total = int(self.sizes.sum())
        if not self.total:
            raise DatasetError("there are no pairs to draw from")
        self.seed = seed
        self._together = together
        self._ends = np.cumsum(self.sizes)
        self._epoch: tuple[int, list[NDArray[np.int64]], list[int]] | None = None
        self._group: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def __getitem__(self, position: int) -> Place:
        epoch, offset = divmod(position, self.total)
        groups, ends = self._groups(epoch)
        group = bisect_right(ends, offset)
        parts = groups[group]
        pair = int(self._shuffled(epoch, group, parts)[offset - (ends[group - 1] if group else 0)])
        within = np.cumsum(self.sizes[parts])
        which = int(np.searchsorted(within, pair, "right"))
        return Place(int(parts[which]), pair - (int(within[which - 1]) if which else 0))

    def replacement(self, position: int, attempt: int) -> Place:
        """Any pair, for a position whose own cannot be read: the same for the same position and attempt."""
        pair = int(np.random.default_rng([self.seed, REPLACEMENTS, position, attempt]).integers(self.total))
        part = int(np.searchsorted(self._ends, pair, "right"))
        return Place(part, pair - (int(self._ends[part - 1]) if part else 0))

    def _groups(self, epoch: int) -> tuple[list[NDArray[np.int64]], list[int]]:
        """The parts of each group, and the offset in the epoch at which each group ends."""
        if self._epoch is None or self._epoch[0] != epoch:
            parts = np.random.default_rng([self.seed, PARTS, epoch]).permutation(len(self.sizes))
            groups: list[NDArray[np.int64]] = []
            ends: list[int] = []
            first = end = 0
            for last in range(len(parts)):
                end += int(self.sizes[parts[last]])
                if end - (ends[-1] if ends else 0) >= self._together or last == len(parts) - 1:
                    groups.append(parts[first : last + 1])
                    ends.append(end)
                    first = last + 1
            self._epoch = epoch, groups, ends
        return self._epoch[1:]

    def _shuffled(self, epoch: int, group: int, parts: NDArray[np.int64]) -> NDArray[np.int64]:
        """[pairs of the group]: which of them stands where."""
        if self._group is None or self._group[0] != (epoch, group):
            random = np.random.default_rng([self.seed, PAIRS, epoch, group])
            self._group = (epoch, group), random.permutation(int(self.sizes[parts].sum()))
        return self._group[1]
