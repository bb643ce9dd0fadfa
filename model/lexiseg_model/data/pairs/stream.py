"""Pairs as training draws them: in a shuffled order, decoded, one caption each, broken ones replaced and named.

The order is a function of seed and position, so a checkpoint only keeps the position. Every epoch shuffles the parts,
groups them to `TOGETHER` pairs and shuffles within each group: reads stay local on disk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.pairs.source import PairSource, Skipped, StoredPair, decode, first_readable
from lexiseg_model.errors import DatasetError

TOGETHER = 40_000  # minimum of pairs that are shuffled together, as in TCL's shuffle buffer
PARTS, PAIRS, REPLACEMENTS, CAPTION, VIEW = range(5)  # purposes of random streams


class Order:
    """Numbers of the pairs at positions 0, 1, 2, ... of an endless stream; each epoch has every pair once."""

    def __init__(self, sizes: Sequence[int], seed: int, together: int = TOGETHER) -> None:
        """Order pairs of parts of these sizes.

        Raises:
            DatasetError: there are no pairs.
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

    def __getitem__(self, position: int) -> int:
        epoch, offset = divmod(position, self.total)
        groups, ends = self._groups(epoch)
        group = bisect_right(ends, offset)
        parts = groups[group]
        pair = int(self._shuffled(epoch, group, parts)[offset - (ends[group - 1] if group else 0)])
        within = np.cumsum(self.sizes[parts])
        which = int(np.searchsorted(within, pair, "right"))
        return int(self._ends[parts[which]] - within[which]) + pair

    def replacement(self, position: int, attempt: int) -> int:
        """A random pair for a position whose own cannot be read; deterministic by position and attempt."""
        return int(np.random.default_rng([self.seed, REPLACEMENTS, position, attempt]).integers(self.total))

    def _groups(self, epoch: int) -> tuple[list[NDArray[np.int64]], list[int]]:
        """Parts of each group, and the offset in the epoch where each group ends."""
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
        """Permutation of the pairs of a group."""
        if self._group is None or self._group[0] != (epoch, group):
            random = np.random.default_rng([self.seed, PAIRS, epoch, group])
            self._group = (epoch, group), random.permutation(int(self.sizes[parts].sum()))
        return self._group[1]


@dataclass(frozen=True)
class Drawn:
    """One pair: RGB [H, W, 3] and a caption, with the unreadable pairs that it replaces."""

    seed: int
    position: int
    name: str
    image: NDArray[np.uint8]
    caption: str
    skipped: tuple[Skipped, ...]

    def random(self) -> np.random.Generator:
        """Generator for the views of this pair, the same whenever this position is drawn."""
        return np.random.default_rng([self.seed, VIEW, self.position])


class PairStream:
    """Pairs of a source by position in an endless shuffled order."""

    def __init__(self, source: PairSource, seed: int) -> None:
        """Draw from a source.

        Raises:
            DatasetError: the source has no pairs.
        """
        self.source = source
        self.order = Order(source.sizes, seed)

    def __getitem__(self, position: int) -> Drawn:
        """The pair at a position.

        Raises:
            DatasetError: it and MAX_BROKEN replacements cannot be read.
        """

        def read(index: int) -> tuple[StoredPair, NDArray[np.uint8]]:
            stored = self.source.read(index)
            return stored, decode(stored)

        replacement = partial(self.order.replacement, position)
        (stored, image), skipped = first_readable(self.order[position], read, replacement)
        seed = self.order.seed
        which = int(np.random.default_rng([seed, CAPTION, position]).integers(len(stored.captions)))
        return Drawn(seed, position, stored.name, image, stored.captions[which], skipped)
