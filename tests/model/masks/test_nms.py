from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.masks.nms import BLOCK, OverlapRule, suppress


def boxes(count: int, largest: int, seed: int = 0) -> Tensor:
    """Random rectangles [count, 40, 48]."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, 40, 48, dtype=torch.bool)
    for mask in masks:
        top, left, height, width = (
            int(torch.randint(1, n, (), generator=generator)) for n in (40, 48, largest, largest)
        )
        mask[top : top + height, left : left + width] = True
    return masks


def one_by_one(masks: Tensor, scores: Tensor, rule: OverlapRule) -> list[int]:
    kept: list[int] = []
    for j in sorted(range(len(masks)), key=lambda index: -float(scores[index])):
        for i in kept:
            shared, either = int((masks[i] & masks[j]).sum()), int((masks[i] | masks[j]).sum())
            inside = rule.inside is not None and shared / max(int(masks[j].sum()), 1e-6) >= rule.inside
            if shared / max(either, 1e-6) >= rule.overlap or inside:
                break
        else:
            kept.append(j)
    return kept


@pytest.mark.parametrize("rule", [OverlapRule(overlap=0.511, inside=0.713), OverlapRule(overlap=0.313, inside=None)])
@pytest.mark.parametrize("largest", [5, 30])
def test_masks_go_as_one_by_one_over_several_blocks(rule: OverlapRule, largest: int) -> None:
    masks = boxes(2 * BLOCK + 50, largest)
    scores = torch.rand(len(masks), generator=torch.Generator().manual_seed(1))

    found = suppress(masks, scores, rule)

    assert found.tolist() == one_by_one(masks, scores, rule)
    assert 1 < len(found) < len(masks)


def test_a_small_mask_inside_a_better_large_one_goes_and_not_the_other_way() -> None:
    nested = torch.zeros(2, 8, 8, dtype=torch.bool)
    nested[0], nested[1, 2:4, 2:4] = True, True

    assert suppress(nested, torch.tensor([0.9, 0.8])).tolist() == [0]
    assert suppress(nested, torch.tensor([0.8, 0.9])).tolist() == [1, 0]


def test_no_masks_leave_none_and_empty_masks_suppress_nobody() -> None:
    assert suppress(torch.zeros(0, 4, 4, dtype=torch.bool), torch.zeros(0)).tolist() == []
    assert suppress(torch.zeros(2, 4, 4, dtype=torch.bool), torch.tensor([0.1, 0.2])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("masks", "scores"),
    [
        (torch.zeros(2, 4, 4), torch.zeros(2)),
        (torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4)),
        (torch.zeros(2, 4, 4, dtype=torch.bool), torch.zeros(3)),
    ],
)
def test_other_shapes_are_refused(masks: Tensor, scores: Tensor) -> None:
    with pytest.raises(ShapeError, match="expected bool masks"):
        suppress(masks, scores)
