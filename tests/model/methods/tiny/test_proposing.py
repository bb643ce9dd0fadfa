"""Proposals from a grid of points: which points are asked and which masks are kept."""

import pytest
import torch
from torch import Tensor

from lexiseg_model.masks.nms import OverlapRule
from lexiseg_model.methods.tiny import proposing
from lexiseg_model.methods.tiny.prompt_head import MaskAnswers, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.proposing import PER_PASS, propose
from lexiseg_model.methods.tiny.settings import ProposalSettings
from tests.model.methods.tiny.small import HEIGHT, WIDTH

ALL = ProposalSettings(grid=6, quality=0.0, rule=OverlapRule(overlap=1.0, inside=None), explains=0, min_expected=0)


def asked(head: PromptHead, shared: SharedMaps, settings: ProposalSettings) -> list[tuple[float, float]]:
    """The points that proposals ask, in order."""
    points: list[Tensor] = []
    click_masks = head.click_masks

    def counted(maps: SharedMaps, prompts: Prompts) -> MaskAnswers:
        points.append(prompts.points[0, :, 0])
        return click_masks(maps, prompts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "click_masks", counted)
        propose(head, shared, settings)
    assert max(map(len, points)) <= PER_PASS
    return [(x, y) for x, y in torch.cat(points).tolist()]


@pytest.mark.parametrize(
    "sparing", [{"explains": 0.5}, {"min_expected": 0.5}], ids=["well inside a mask", "of low expected quality"]
)
def test_points_inside_masks_or_of_little_hope_are_skipped(
    head: PromptHead, shared: SharedMaps, sparing: dict[str, float]
) -> None:
    points = asked(head, shared, ALL.model_copy(update=sparing))

    assert len(set(points)) == len(points) < ALL.grid**2


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


SMALL = 4  # cells of a window's sides, of the six by eight of the image


def test_masks_of_windows_are_placed_at_their_windows(
    head: PromptHead, shared: SharedMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "MIN_SIDE", SMALL)

    found = propose(head, shared, ALL)

    assert found.masks.shape[1:] == (HEIGHT // 4, WIDTH // 4)
    beyond = (found.masks == proposing.NOTHING).flatten(1).sum(1)
    n_outside = HEIGHT * WIDTH // 16 - (proposing.FINER * SMALL) ** 2
    assert set(beyond.tolist()) <= {0, n_outside}
    assert n_outside in beyond.tolist()
