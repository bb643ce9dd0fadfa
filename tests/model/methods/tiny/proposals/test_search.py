"""Which points of a grid are asked, by what was found so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.prompt_maps import HEADS
from lexiseg_model.methods.tiny.proposals.search import Search
from lexiseg_model.methods.tiny.settings import ProposalSettings


def searching(vectors: NDArray[np.float32], **settings: float) -> Search:
    """Over a grid of 4 x 4; vectors [16, 1], of which two are alike or not."""
    return Search(vectors * HEADS, ProposalSettings(grid=4, **{"hope": 0.0, **settings}))


NOWHERE = np.zeros(16, bool)
ONE_THING = np.ones((16, 1), np.float32) / HEADS**0.5
ROW = np.array([4, 5, 6, 7])


def test_points_go_by_what_was_found_near_by() -> None:
    search = searching(ONE_THING)
    search.answered(np.array([0, 3]), np.array([0.1, 0.9], np.float32))

    assert search.next_of(ROW, 4, unseen=False).tolist() == [7, 6, 5, 4]


def test_points_go_by_what_was_found_where_it_looks_alike() -> None:
    halves = np.repeat(np.array([[1], [-1]], np.float32) / HEADS**0.5, 8, axis=0)  # rows 0 and 1, rows 2 and 3
    search = searching(halves, hope=0.35)

    search.answered(np.array([5, 9]), np.array([0.1, 0.9], np.float32))

    assert search.next_of(np.array([4, 6, 8, 10]), 4, unseen=False).tolist() == [8, 10]


def test_what_was_asked_or_is_spared_waits_no_more() -> None:
    search = searching(ONE_THING)

    search.answered(np.array([4]), np.array([0.5], np.float32))
    search.shown(NOWHERE, np.arange(16) == 6)

    assert search.next_of(ROW, 4, unseen=True).tolist() == [5, 7]
    assert sorted(search.next_of(ROW, 4, unseen=False).tolist()) == [5, 7]
