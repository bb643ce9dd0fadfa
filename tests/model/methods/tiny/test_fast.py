"""A trained module made quick: the same answers, fewer steps, another number type."""

from __future__ import annotations

import torch
from torch import nn

from lexiseg_model.methods.tiny.fast import fused, in_type
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


def test_only_batch_norms_without_a_convolution_are_left() -> None:
    left = [name for name, part in fused(trained()).named_modules() if isinstance(part, nn.BatchNorm2d)]

    assert left == ["0.0"]


def test_every_weight_but_those_of_batch_norms_changes_its_type() -> None:
    module = in_type(fused(trained()), torch.bfloat16)

    types = {name: weight.dtype for name, weight in module.named_parameters()}
    assert {name for name, dtype in types.items() if dtype == torch.float32} == {"0.0.weight", "0.0.bias"}
    assert module(torch.randn(1, 3, 16, 16).bfloat16()).dtype == torch.bfloat16
