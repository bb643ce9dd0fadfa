"""Scores of cells, compiled: products with texts, of several texts of a row the best."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel.library import call


def fit(depth: int) -> bool:
    """Whether the kernel makes products of such a depth, on this processor."""
    return library.ready() and _fits(depth)


@lru_cache
def _fits(depth: int) -> bool:
    return bool(call("cell_scores_fit", depth))


def cell_scores(
    cells: NDArray[np.float16], vectors: NDArray[np.float32], added: NDArray[np.float32], owner: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The largest of `vectors[t] . cell + added[t]` over the texts t of each row.

    Args:
        cells: [D, n], in either order in memory; D as it fits.
        vectors: [T, D]; T is at least 1.
        added: [T]
        owner: [T], the row of each text: ascending from 0, none left out.

    Returns:
        [rows, n]
    """
    depth, n = cells.shape
    in_turn = not cells.flags.c_contiguous
    laid_out = np.ascontiguousarray(cells.T) if in_turn else cells
    vectors, added = np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(added, np.float32)
    owner = np.ascontiguousarray(owner, np.int64)
    scores = np.empty((int(owner[-1]) + 1, n), np.float32)
    call("cell_scores", laid_out, int(in_turn), n, depth, vectors, added, owner, len(owner), scores)
    return scores
