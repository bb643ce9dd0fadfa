"""Choose the next grid points to evaluate, from the masks found so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.prompt_maps import HEADS
from lexiseg_model.methods.tiny.settings import ProposalSettings

# Chosen on training photographs with `ProposalSettings`.
SHARPNESS = 16.0  # exponent of the kernel per unit of cosine between points
REACH = 1.5  # standard deviation of the kernel in steps of the grid
PRIOR, PRIOR_WEIGHT = (
    0.3,
    0.1,
)  # prior of a point's quality, and its weight; an evaluated point has weight 1 at its place
ALIKE = 0.8  # cosine from which two points are likely on the same object
CROWD = 0.2  # bonus of the expected quality, times the root of the share of similar points that no mask covers

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


class Search:
    """Chooses which grid points to evaluate next.

    Points well inside a kept mask are skipped. The others of a rank are ordered by expected quality: a kernel
    regression on evaluated points, by distance and similarity, plus a bonus for many similar uncovered points.
    """

    def __init__(self, vectors: Floats, settings: ProposalSettings) -> None:
        """Start with all points of the grid; `vectors` [grid * grid, D]: HEADS concatenated unit vectors each."""
        self._settings = settings
        self._cosines: Floats = (vectors @ vectors.T) / np.float32(HEADS)
        self._similar = (self._cosines > ALIKE).astype(np.float32)
        self._row, self._column = np.divmod(np.arange(len(vectors)), settings.grid)
        self._pending = np.ones(len(vectors), bool)
        self._uncovered = np.ones(len(vectors), np.float32)
        self._weights = np.full(len(vectors), PRIOR_WEIGHT, np.float32)
        self._sums = self._weights * np.float32(PRIOR)

    def next_points(self, rank: Indices, n: int, *, is_first: bool) -> Indices:
        """At most n pending points of a rank, the most promising first; in the order of the rank if it `is_first`."""
        pending = rank[self._pending[rank]]
        if is_first:
            return pending[:n]
        crowd = self._similar[pending] @ self._uncovered / np.float32(len(self._uncovered))
        expected = self._sums[pending] / self._weights[pending] + np.float32(CROWD) * np.sqrt(crowd)
        order = np.argsort(-expected, kind="stable")
        best: Indices = pending[order[expected[order] >= self._settings.min_expected]][:n]
        return best

    def record_quality(self, points: Indices, best: Floats) -> None:
        """Record the best quality of evaluated points."""
        self._pending[points] = False
        square = (self._row[points, None] - self._row) ** 2 + (self._column[points, None] - self._column) ** 2
        kernel = np.exp(SHARPNESS * (self._cosines[points] - 1) - square.astype(np.float32) / (2 * REACH**2))
        for quality, weights in zip(best, kernel, strict=True):  # one by one: sums do not depend on the BLAS
            self._weights += weights
            self._sums += quality * weights

    def record_masks(self, covered: NDArray[np.bool_], skipped: NDArray[np.bool_]) -> None:
        """Record which grid points kept masks cover, and which need no evaluation any more."""
        self._pending &= ~skipped
        self._uncovered[covered] = 0

    def uncovered_share(self, covered: NDArray[np.bool_]) -> float:
        """The share of a mask's grid points that no kept mask covers; 1 for a mask without grid points."""
        return float(self._uncovered[covered].mean()) if covered.any() else 1.0
