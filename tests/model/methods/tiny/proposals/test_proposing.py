"""Proposals of a grid: which points are asked, what is kept of their answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.masks.nms import OverlapRule
from lexiseg_model.methods.tiny.prompt_head import MaskAnswers, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import MAP_STRIDE, Prompts
from lexiseg_model.methods.tiny.proposals import proposing, windows
from lexiseg_model.methods.tiny.proposals.proposing import LEAST_CELLS, PER_PASS, grid, propose, ranks
from lexiseg_model.methods.tiny.proposals.windows import Windows
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
    lone = head.lone

    def counted(maps: SharedMaps, prompts: Prompts) -> MaskAnswers:
        points.append(prompts.points[0, :, 0])
        return lone(maps, prompts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "lone", counted)
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


SMALL = 8  # cells of a window's sides, of the twelve by sixteen of the image


def asked_how(
    head: PromptHead, shared: SharedMaps, settings: ProposalSettings, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, Tensor]]:
    """Points [n, 2] of each pass, and whether they were asked in the whole picture or in windows of a quarter."""
    passes: list[tuple[str, Tensor]] = []
    lone, within = head.lone, head.lone_within

    def in_whole(maps: SharedMaps, prompts: Prompts) -> MaskAnswers:
        if len(maps.mid) == 1 and maps.mid.shape == shared.mid.shape:
            passes.append(("whole", prompts.points[0, :, 0]))
        return lone(maps, prompts)

    def in_windows(maps: SharedMaps, points: Tensor, where: Windows) -> MaskAnswers:
        passes.append(("window", points))
        return within(maps, points, where)

    monkeypatch.setattr(windows, "LEAST", SMALL)
    monkeypatch.setattr(head, "lone", in_whole)
    monkeypatch.setattr(head, "lone_within", in_windows)
    propose(head, shared, settings)
    return passes


def test_the_first_points_are_asked_in_the_whole_picture_and_finer_ones_near_by(
    head: PromptHead, shared: SharedMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "NEW", 2.0)  # more than there is: none is asked again

    passes = asked_how(head, shared, ALL, monkeypatch)

    first = grid(ALL.grid, shared)[ranks(ALL.grid)[0]]
    assert passes[0][0] == "whole"
    assert passes[0][1].tolist() == first.tolist()
    assert {how for how, _ in passes[1:]} == {"window"}
    assert sum(len(points) for _, points in passes) == ALL.grid**2


def test_a_point_whose_mask_goes_on_behind_its_window_is_asked_again(
    head: PromptHead, shared: SharedMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "TOUCHES", -1)  # all masks do
    monkeypatch.setattr(proposing, "NEW", 0.0)

    passes = asked_how(head, shared, ALL, monkeypatch)

    near = {tuple(point) for how, points in passes if how == "window" for point in points.tolist()}
    again = [tuple(point) for how, points in passes[1:] if how == "whole" for point in points.tolist()]
    assert near
    assert len(again) == len(near)
    assert set(again) == near


def test_a_window_counts_as_its_share_of_the_picture(
    head: PromptHead, shared: SharedMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "NEW", 2.0)
    n_first, most = len(ranks(ALL.grid)[0]), 8

    passes = asked_how(head, shared, ALL.model_copy(update={"most": most}), monkeypatch)

    rows, columns = (side // MAP_STRIDE for side in (HEIGHT, WIDTH))
    n_near = sum(len(points) for how, points in passes if how == "window")
    assert n_near == (most - n_first) * rows * columns // SMALL**2


def test_masks_of_windows_lie_where_they_were_asked(
    head: PromptHead, shared: SharedMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LEAST", SMALL)

    found = propose(head, shared, ALL)

    assert found.masks.shape[1:] == (HEIGHT // 4, WIDTH // 4)
    beyond = (found.masks == proposing.NOTHING).flatten(1).sum(1)
    n_outside = HEIGHT * WIDTH // 16 - (2 * SMALL) ** 2
    assert set(beyond.tolist()) <= {0, n_outside}
    assert n_outside in beyond.tolist()
