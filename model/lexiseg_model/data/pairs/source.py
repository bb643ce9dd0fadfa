"""Where pairs come from: anything that reads its i-th photograph with captions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import OptionError

MOST_BROKEN = 20  # in a row: of a set with a third of its samples broken, one in 10^9


class StoredPair(NamedTuple):
    """A photograph as its file's bytes, and what is said of it: one caption or several."""

    name: str
    photograph: bytes
    captions: tuple[str, ...]


class Skipped(NamedTuple):
    """What could not be read, and why."""

    name: str
    reason: str


class PairSource(Protocol):
    """Pairs in one or more parts; parts are what lies together on disk, such as a shard."""

    @property
    def sizes(self) -> Sequence[int]:
        """How many pairs each part holds."""
        ...

    @property
    def damaged(self) -> Sequence[Skipped]:
        """Parts of which not everything could be listed."""
        ...

    def read(self, part: int, index: int) -> StoredPair:
        """One pair; the photograph is not decoded.

        Raises:
            SampleError: it cannot be read, or a half of it is missing.
        """
        ...


@dataclass(frozen=True)
class Joined:
    """Several sources as one, part after part."""

    sources: tuple[PairSource, ...]

    @property
    def sizes(self) -> list[int]:
        return [size for source in self.sources for size in source.sizes]

    @property
    def damaged(self) -> list[Skipped]:
        return [skipped for source in self.sources for skipped in source.damaged]

    def read(self, part: int, index: int) -> StoredPair:
        ends = list(accumulate(len(source.sizes) for source in self.sources))
        owner = bisect_right(ends, part)
        return self.sources[owner].read(part - (ends[owner - 1] if owner else 0), index)


@dataclass(frozen=True)
class Rewritten(ABC):
    """A view of a source with something changed; of as many pairs in the same parts, unless it says otherwise."""

    source: PairSource

    @property
    def sizes(self) -> Sequence[int]:
        return self.source.sizes

    @property
    def damaged(self) -> Sequence[Skipped]:
        return self.source.damaged

    @abstractmethod
    def read(self, part: int, index: int) -> StoredPair:
        """As `PairSource.read`."""


@dataclass(frozen=True)
class Chosen(Rewritten):
    """Some pairs of a source: `kept[p]` holds the indexes of part p, ascending."""

    kept: tuple[NDArray[np.int64], ...]

    @property
    def sizes(self) -> list[int]:
        return [len(indexes) for indexes in self.kept]

    def read(self, part: int, index: int) -> StoredPair:
        return self.source.read(part, int(self.kept[part][index]))


def set_apart(source: PairSource, n_pairs: int, seed: int = 0) -> tuple[Chosen, Chosen]:
    """Splits a source in two: all but `n_pairs`, and those `n_pairs`, drawn by the seed alone.

    Raises:
        OptionError: the source does not hold more than that.
    """
    total = sum(source.sizes)
    if not 0 < n_pairs < total:
        raise OptionError(
            f"held_out: {n_pairs} pairs to be set apart; expected 1 to {total - 1}, for there are {total}"
        )
    apart = np.zeros(total, np.bool_)
    apart[np.random.default_rng(seed).permutation(total)[:n_pairs]] = True
    halves = np.split(apart, np.cumsum(source.sizes)[:-1])
    rest, held_out = (
        Chosen(source, tuple(np.flatnonzero(half == wanted) for half in halves)) for wanted in (False, True)
    )
    return rest, held_out
