"""Scores of cells, compiled: products with texts, of several texts of a row the best."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

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
    laid_out, in_turn = _laid_out(cells)
    vectors, added = np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(added, np.float32)
    owner = np.ascontiguousarray(owner, np.int64)
    scores = np.empty((int(owner[-1]) + 1, n), np.float32)
    call("cell_scores", laid_out, in_turn, n, depth, vectors, added, owner, len(owner), scores)
    return scores


class Asked(NamedTuple):
    """T texts as the kernel reads them: `directions` and `vectors` [T, D] float32, beside a picture and beside its
    cells; `levels` [T], or None; `owner` [T], the row of each, as of `cell_scores`."""

    directions: NDArray[np.float32]
    vectors: NDArray[np.float32]
    levels: NDArray[np.float32] | None
    owner: NDArray[np.int64]


class PresenceRule(NamedTuple):
    """presence = scale * likeness to the image + log(mean(exp(likeness to coarse cells))) + bias, of which the scores
    get weight * max(log(sigmoid(presence)), least)."""

    scale: float
    bias: float
    weight: float
    least: float


def scores_by_presence(
    cells: NDArray[np.float16],
    coarse: NDArray[np.float16],
    image: NDArray[np.float16],
    asked: Asked,
    rule: PresenceRule,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As `cell_scores`, with the presence of each text in the picture and its level added.

    Args:
        cells: [D, n], in either order in memory; D as it fits.
        coarse: [D, m] likewise, of the same picture.
        image: [D], of all of it.
        asked: the texts; at least one.
        rule: what presence is and what it adds.

    Returns:
        Scores [rows, n] and presence [T].
    """
    (laid_out, in_turn), (coarsely, coarse_in_turn) = _laid_out(cells), _laid_out(coarse)
    owner = asked.owner
    presence = np.empty(len(owner), np.float32)
    scores = np.empty((int(owner[-1]) + 1, cells.shape[1]), np.float32)
    picture = (laid_out, in_turn, cells.shape[1], coarsely, coarse_in_turn, coarse.shape[1], image, len(image))
    call("scores_by_presence", *picture, *asked, len(owner), *map(float, rule), presence, scores)
    return scores, presence


def _laid_out(cells: NDArray[np.float16]) -> tuple[NDArray[np.float16], int]:
    """The cells as they lie or in order, and whether they come one after the other."""
    if cells.flags.c_contiguous:
        return cells, 0
    return np.ascontiguousarray(cells.T), 1
