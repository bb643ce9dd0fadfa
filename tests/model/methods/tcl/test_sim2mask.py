"""From similarity to soft masks, and to hard ones that still learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.methods.tcl.grounder import Sim2Mask, hard_mask, logistic_noise


def test_training_starts_with_a_threshold_at_a_quarter() -> None:
    assert torch.sigmoid(Sim2Mask()(torch.tensor([0.25, 0.35]))).tolist() == pytest.approx([0.5, 0.731], abs=1e-3)


def test_scale_and_bias_learn() -> None:
    sim2mask = Sim2Mask()

    logit: Tensor = sim2mask(torch.tensor(0.5))
    torch.autograd.backward(logit)

    assert sim2mask.scale.grad is not None
    assert sim2mask.bias.grad is not None
    assert (sim2mask.scale.grad.item(), sim2mask.bias.grad.item()) == (0.5, 1)


def test_hard_masks_are_zero_or_one_and_learn_as_if_they_were_soft() -> None:
    logits = torch.tensor([-3.0, -0.1, 0.1, 3.0], requires_grad=True)
    soft = torch.sigmoid(logits.detach())

    mask = hard_mask(logits, torch.zeros(4))
    torch.autograd.backward(mask.sum())

    torch.testing.assert_close(mask.detach(), torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, soft * (1 - soft))


def test_a_pixel_is_drawn_as_often_as_its_soft_mask_says() -> None:
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)
    logits = torch.full((20_000,), 1.2)

    drawn = hard_mask(logits, logistic_noise(uniform)).mean()

    assert drawn.item() == pytest.approx(torch.sigmoid(logits[0]).item(), abs=0.01)
