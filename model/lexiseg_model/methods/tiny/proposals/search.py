"""Which points of a grid are worth asking, by the answers so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.prompt_maps import HEADS
from lexiseg_model.methods.tiny.settings import ProposalSettings

# Chosen on training photographs with `ProposalSettings`.
SHARPNESS = 16.0  # by how much less a point tells of another for each unit of cosine between them
REACH = 1.5  # steps of the grid: the deviation by which it tells less with distance
GUESS, DOUBT = 0.3, 0.1  # what is expected where nothing is known, and how much that weighs beside one point just there
ALIKE = 0.8  # the cosine of points that are likely to be of one thing
CROWD = 0.2  # what is added to the expected quality, times the root of the share of points alike that nothing covers

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class Search:
    """Which points of a grid are worth asking, by the answers so far.

    A point that lies well inside a mask found before is not asked. The others of a rank go by what is expected of them:
    the mean of what points asked before had for their best mask, those near by and alike first, and something for a
    crowd of others alike that no mask covers yet.
    """

    def __init__(self, vectors: Floats, settings: ProposalSettings) -> None:
        """`vectors` [grid * grid, D]: HEADS unit vectors at each point, beside each other."""
        self._settings = settings
        self._cosines: Floats = (vectors @ vectors.T) / np.float32(HEADS)
        self._alike = (self._cosines > ALIKE).astype(np.float32)
        self._row, self._column = np.divmod(np.arange(len(vectors)), settings.grid)
        self._waits = np.ones(len(vectors), bool)
        self._open = np.ones(len(vectors), np.float32)  # where no mask covers it
        self._weights = np.full(len(vectors), DOUBT, np.float32)
        self._sums = self._weights * np.float32(GUESS)

    def next_of(self, rank: Places, n: int, *, unseen: bool) -> Places:
        """At most n points of a rank, none when it is done; in the order of the rank while all is `unseen`."""
        left = rank[self._waits[rank]]
        if unseen:
            return left[:n]
        crowd = self._alike[left] @ self._open / np.float32(len(self._open))
        hope = self._sums[left] / self._weights[left] + np.float32(CROWD) * np.sqrt(crowd)
        order = np.argsort(-hope, kind="stable")
        best: Places = left[order[hope[order] >= self._settings.hope]][:n]
        return best

    def answered(self, asked: Places, best: Floats) -> None:
        """The quality of the best mask of each of some points."""
        self._waits[asked] = False
        square = (self._row[asked, None] - self._row) ** 2 + (self._column[asked, None] - self._column) ** 2
        near = np.exp(SHARPNESS * (self._cosines[asked] - 1) - square.astype(np.float32) / (2 * REACH**2))
        for quality, weights in zip(best, near, strict=True):  # one by one: the same sums whatever multiplies matrices
            self._weights += weights
            self._sums += quality * weights

    def shown(self, covered: NDArray[np.bool_], spared: NDArray[np.bool_]) -> None:
        """The points of the grid that good masks cover, and those that need not be asked any more for them."""
        self._waits &= ~spared
        self._open[covered] = 0

    def open_share(self, covered: NDArray[np.bool_]) -> float:
        """Of the points of the grid that a mask covers, those that no good mask did before; 1 where it covers none."""
        return float(self._open[covered].mean()) if covered.any() else 1.0
