"""InfoNCE at its bound, and mask losses without absent targets; their numbers are compared in s_seg/test_golden.py."""

import pytest
import torch

from lexiseg_model.clip.scale import LearnedScale
from lexiseg_train.training.losses import contrast_loss, matched_mask_losses


def test_the_temperature_has_a_lower_bound() -> None:
    learned = LearnedScale()
    with torch.no_grad():
        learned.log_scale.fill_(50.0)
    mixed = torch.tensor([[0.0, 1.0], [1.0, 0.0]])

    assert contrast_loss(learned.scale, mixed, mixed).item() == pytest.approx(100.0)


def test_absent_targets_do_not_change_the_loss() -> None:
    seed = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(1, 2, 6, 8, 8, generator=seed)
    targets = torch.randint(2, (2, 3, 8, 8), generator=seed).float()
    rubbish = torch.cat([targets, torch.zeros(2, 1, 8, 8)], 1)
    present = torch.tensor([[True] * 3 + [False]] * 2)

    torch.testing.assert_close(
        matched_mask_losses(logits, rubbish, present=present), matched_mask_losses(logits, targets)
    )
