"""Losses of promptable masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.methods.tiny.prompt_head import MaskAnswers
from lexiseg_model.methods.tiny.training.prompts import overlaps, prompt_losses

SURE = 12.0  # a logit that leaves no doubt


def target() -> Tensor:
    """[1, 1, 8, 8]: the left half."""
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    return mask


def logits(mask: Tensor) -> Tensor:
    return (mask * 2 - 1) * SURE


def answers(*masks: Tensor, quality: float = SURE) -> MaskAnswers:
    """Answers to one prompt, all held to be as good."""
    return MaskAnswers(torch.stack([logits(mask) for mask in masks], 2), torch.full((1, 1, len(masks)), quality))


ALL = torch.ones(1, 8, 8)


def test_only_the_best_of_four_masks_gets_a_loss() -> None:
    wrong = 1 - target()

    four = prompt_losses(answers(wrong, wrong, target(), wrong, quality=0.0), target(), ALL)
    one = prompt_losses(answers(wrong, quality=0.0), target(), ALL)

    assert four.overlap == 1
    assert four.total < 0.3 * one.total


def test_ignored_pixels_do_not_change_the_loss() -> None:
    left = torch.zeros(1, 8, 8)
    left[:, :, :4] = 1
    right, wrong = target(), torch.ones(1, 1, 8, 8)

    found = prompt_losses(answers(wrong), target(), left)

    torch.testing.assert_close(found.total, prompt_losses(answers(right), target(), left).total)


def test_overlap_is_the_iou_of_counted_pixels() -> None:
    wide = torch.zeros(1, 1, 8, 8)
    wide[..., :6] = 1
    counts = torch.ones(8, 8)
    counts[:, 5] = 0

    assert overlaps(logits(wide), target(), torch.ones(8, 8)).item() == pytest.approx(4 / 6)
    assert overlaps(logits(wide), target(), counts).item() == pytest.approx(4 / 5)
