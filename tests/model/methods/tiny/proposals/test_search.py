"""Which points of a grid are asked, by what was found so far."""

from __future__ import annotations

import numpy as np
import pytest
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


def test_points_of_a_crowd_that_nothing_covers_go_first() -> None:
    halves = np.repeat(np.array([[1], [-1]], np.float32) / HEADS**0.5, 8, axis=0)
    search = searching(halves)
    covered = np.arange(16) < 8

    search.shown(covered, NOWHERE)

    assert search.next_of(np.array([0, 15, 1, 14]), 4, unseen=False).tolist() == [15, 14, 0, 1]


def test_what_was_asked_or_is_spared_waits_no_more() -> None:
    search = searching(ONE_THING)

    search.answered(np.array([4]), np.array([0.5], np.float32))
    search.shown(NOWHERE, np.arange(16) == 6)

    assert search.next_of(ROW, 4, unseen=True).tolist() == [5, 7]
    assert sorted(search.next_of(ROW, 4, unseen=False).tolist()) == [5, 7]


def test_no_more_points_come_than_are_wanted() -> None:
    search = searching(ONE_THING)

    assert search.next_of(ROW, 2, unseen=True).tolist() == [4, 5]
    assert len(search.next_of(ROW, 2, unseen=False)) == 2
    assert not len(search.next_of(ROW, 0, unseen=False))


def test_what_a_mask_covers_is_new_where_none_covered_it_before() -> None:
    search = searching(ONE_THING)
    search.shown(np.arange(16) < 8, NOWHERE)

    assert search.open_share((np.arange(16) >= 6) & (np.arange(16) < 10)) == pytest.approx(0.5)
    assert search.open_share(NOWHERE) == 1
