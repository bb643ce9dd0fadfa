"""A control for trainings on pairs: the same photographs and captions, but not of each other.

What a model learns from these it has not learned from words; a figure that is said to come from them must not rise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.pairs.source import PairSource, Rewritten, StoredPair


@dataclass(frozen=True)
class Mismatched(Rewritten):
    """Pairs of which every photograph always comes with the captions of the same other one."""

    others: NDArray[np.int64]  # [n]: whose captions the n-th photograph has, counted over all parts

    @classmethod
    def of(cls, source: PairSource, seed: int) -> Mismatched:
        """Nobody keeps captions of its own, if there are two pairs at least."""
        circle = np.random.default_rng(seed).permutation(sum(source.sizes))
        others = np.empty_like(circle)
        others[circle] = np.roll(circle, 1)
        return cls(source, others)

    def read(self, part: int, index: int) -> StoredPair:
        ends = np.cumsum(self.source.sizes)
        other = int(self.others[int(ends[part]) - self.source.sizes[part] + index])
        its_part = int(np.searchsorted(ends, other, "right"))
        its_index = other - int(ends[its_part]) + self.source.sizes[its_part]
        captions = self.source.read(its_part, its_index).captions
        return self.source.read(part, index)._replace(captions=captions)
