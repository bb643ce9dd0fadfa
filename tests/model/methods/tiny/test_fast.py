"""A trained module made quick: the same answers, fewer steps, another number type."""

from __future__ import annotations

import torch
from torch import nn

from lexiseg_model.methods.tiny.fast import fused
from lexiseg_model.methods.tiny.network import ConvNormRelu, Residual


def trained() -> nn.Sequential:
    """Batch norms that have seen something, one of them behind no convolution."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), ConvNormRelu(3, 8), Residual(8))
    module.train()
    for _ in range(3):
        module(2 * torch.randn(4, 3, 16, 16) + 1)
    return module.eval().requires_grad_(False)


def test_folding_changes_no_answer() -> None:
    images = torch.randn(2, 3, 16, 16)
    expected = trained()(images)

    torch.testing.assert_close(fused(trained())(images), expected, atol=1e-5, rtol=1e-5)
