"""Proposals of a grid: which points are asked, what is kept of their answers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.nms import OverlapRule
from lexiseg_model.methods.tiny.compiled_head import answering, as_read
from lexiseg_model.methods.tiny.fast import fused
from lexiseg_model.methods.tiny.prompt_head import PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import HEADS, Prompts
from lexiseg_model.methods.tiny.proposing import LEAST_CELLS, PER_PASS, Search, grid, propose, ranks
from lexiseg_model.methods.tiny.settings import ProposalSettings
from tests.model.methods.tiny.small import HEIGHT, WIDTH

ALL = ProposalSettings(grid=6, quality=0.0, rule=OverlapRule(overlap=1.0, inside=None), explains=0, hope=0)


def test_a_grid_has_its_points_in_the_middle_of_equal_parts(shared: SharedMaps) -> None:
    assert grid(2, shared).tolist() == [[32.0, 24.0], [96.0, 24.0], [32.0, 72.0], [96.0, 72.0]]


def test_proposals_come_best_first(head: PromptHead, shared: SharedMaps) -> None:
    found = propose(head, shared, ALL)

    assert len(found.masks) == len(found.quality) > 1
    assert found.quality.tolist() == sorted(found.quality.tolist(), reverse=True)


def test_every_point_of_a_grid_has_its_rank() -> None:
    for n in (1, 2, 3, 6, 20):
        assert sorted(torch.cat(ranks(n)).tolist()) == list(range(n * n))


def asked(head: PromptHead, shared: SharedMaps, settings: ProposalSettings) -> list[tuple[float, float]]:
    """The points that proposals ask, in order."""
    points: list[Tensor] = []
    body = head.body

    def counted(maps: SharedMaps, prompts: Prompts) -> Tensor:
        points.append(prompts.points[0, :, 0])
        return body(maps, prompts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "body", counted)
        propose(head, shared, settings)
    assert max(map(len, points)) <= PER_PASS
    return [(x, y) for x, y in torch.cat(points).tolist()]


def test_every_point_is_asked_once(head: PromptHead, shared: SharedMaps) -> None:
    points = asked(head, shared, ALL)

    assert sorted(points) == sorted(map(tuple, grid(ALL.grid, shared).tolist()))


@pytest.mark.parametrize("sparing", [{"explains": 0.5}, {"hope": 0.5}], ids=["well inside a mask", "of little hope"])
def test_points_that_are_not_asked(head: PromptHead, shared: SharedMaps, sparing: dict[str, float]) -> None:
    points = asked(head, shared, ALL.model_copy(update=sparing))

    assert len(set(points)) == len(points) < ALL.grid**2


def test_no_more_points_are_asked_than_the_card_says(head: PromptHead, shared: SharedMaps) -> None:
    every = asked(head, shared, ALL)

    some = asked(head, shared, ALL.model_copy(update={"most": 13}))

    assert some == every[:13]


def test_proposals_are_the_same_whatever_the_number_of_threads(head: PromptHead, shared: SharedMaps) -> None:
    quick, maps = answering(fused(copy.deepcopy(head))), as_read(shared)
    before, proposed = torch.get_num_threads(), []

    for n in (1, 2, 4):
        torch.set_num_threads(n)
        try:
            with torch.inference_mode():
                proposed.append(propose(quick, maps, ProposalSettings()))
        finally:
            torch.set_num_threads(before)

    assert len(proposed[0].masks)
    for other in proposed[1:]:
        assert torch.equal(other.masks, proposed[0].masks)
        assert torch.equal(other.quality, proposed[0].quality)


def test_proposals_below_the_threshold_are_left_out(head: PromptHead, shared: SharedMaps) -> None:
    every = propose(head, shared, ALL)
    middle = every.quality.median().item()

    good = propose(head, shared, ALL.model_copy(update={"quality": middle}))

    assert 0 < len(good.quality) < len(every.quality)
    assert (good.quality >= middle).all()


def test_proposals_that_cover_the_same_are_one(head: PromptHead, shared: SharedMaps) -> None:
    every = propose(head, shared, ALL)

    fewer = propose(head, shared, ALL.model_copy(update={"rule": OverlapRule()}))

    assert 0 < len(fewer.masks) < len(every.masks)


def test_a_speck_is_no_proposal(head: PromptHead, shared: SharedMaps) -> None:
    masks = propose(head, shared, ALL).masks

    assert ((masks > 0).sum((1, 2)) >= LEAST_CELLS).all()


def test_where_nothing_is_good_enough_there_are_no_proposals(head: PromptHead, shared: SharedMaps) -> None:
    found = propose(head, shared, ALL.model_copy(update={"quality": 1.0}))

    assert found.masks.shape == (0, HEIGHT // 4, WIDTH // 4)
    assert found.quality.shape == (0,)


def searching(vectors: NDArray[np.float32], **settings: float) -> Search:
    """Over a grid of 4 x 4; vectors [16, 1], of which two are alike or not."""
    return Search(vectors * HEADS, ProposalSettings(grid=4, **{"hope": 0.0, **settings}))


NOWHERE = np.zeros(16, bool)
ONE_THING = np.ones((16, 1), np.float32) / HEADS**0.5
ROW = np.array([4, 5, 6, 7])


def test_points_go_by_what_was_found_near_by() -> None:
    search = searching(ONE_THING)
    search.answered(np.array([0, 3]), np.array([0.1, 0.9], np.float32))

    assert search.next_of(ROW, unseen=False).tolist() == [7, 6, 5, 4]


def test_points_go_by_what_was_found_where_it_looks_alike() -> None:
    halves = np.repeat(np.array([[1], [-1]], np.float32) / HEADS**0.5, 8, axis=0)  # rows 0 and 1, rows 2 and 3
    search = searching(halves, hope=0.35)

    search.answered(np.array([5, 9]), np.array([0.1, 0.9], np.float32))

    assert search.next_of(np.array([4, 6, 8, 10]), unseen=False).tolist() == [8, 10]


def test_points_of_a_crowd_that_nothing_covers_go_first() -> None:
    halves = np.repeat(np.array([[1], [-1]], np.float32) / HEADS**0.5, 8, axis=0)
    search = searching(halves)
    covered = np.arange(16) < 8

    search.shown(covered, NOWHERE)

    assert search.next_of(np.array([0, 15, 1, 14]), unseen=False).tolist() == [15, 14, 0, 1]


def test_what_was_asked_or_is_spared_waits_no_more() -> None:
    search = searching(ONE_THING)

    search.answered(np.array([4]), np.array([0.5], np.float32))
    search.shown(NOWHERE, np.arange(16) == 6)

    assert search.next_of(ROW, unseen=True).tolist() == [5, 7]
    assert sorted(search.next_of(ROW, unseen=False).tolist()) == [5, 7]
