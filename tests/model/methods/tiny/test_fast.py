"""A trained module made quick: the same answers, fewer steps, another number type."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lexiseg_model.kernel.residual import fits
from lexiseg_model.methods.tiny.fast import CompiledResidual, fused, in_type, with_compiled_blocks
from lexiseg_model.methods.tiny.network import EMBEDDING, ConvNormRelu, Residual
from lexiseg_model.methods.tiny.prompt_head import COARSE, MID, PromptHead
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from tests.kernel import both_ways, require_kernel


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


@pytest.fixture(scope="module")
def head() -> PromptHead:
    torch.manual_seed(0)
    return fused(PromptHead().eval().requires_grad_(False))


@pytest.fixture(scope="module")
def compiled(head: PromptHead) -> PromptHead:
    require_kernel()
    if not (fits(COARSE) and fits(MID)):
        pytest.skip("no blocks for this processor")
    return with_compiled_blocks(copy.deepcopy(head))


def n_compiled(head: PromptHead) -> int:
    return sum(isinstance(part, CompiledResidual) for part in head.modules())


def test_every_block_that_prompts_go_through_is_compiled(compiled: PromptHead) -> None:
    assert n_compiled(compiled) == 5


def test_blocks_in_bfloat16_stay_with_torch(head: PromptHead) -> None:
    assert n_compiled(with_compiled_blocks(in_type(copy.deepcopy(head), torch.bfloat16))) == 0


def test_answers_stay(head: PromptHead, compiled: PromptHead) -> None:
    pixels, guide = F.normalize(torch.randn(1, EMBEDDING, 16, 24), dim=1), torch.randn(1, 3, 32, 48)
    places = torch.tensor([[[[10.0, 10.0]], [[70.0, 40.0]]]])
    prompts = Prompts(places, torch.ones(1, 2, 1), torch.zeros(1, 2, 4), torch.zeros(1, 2))

    with torch.inference_mode():
        shared = head.maps(pixels, guide)
        quick, without = both_ways(lambda: compiled.lone(shared, prompts))
        expected = head.lone(shared, prompts)

    torch.testing.assert_close(quick.masks, expected.masks, rtol=0, atol=1e-4)
    torch.testing.assert_close(quick.quality, expected.quality, rtol=0, atol=1e-4)
    torch.testing.assert_close(without.masks, expected.masks, rtol=0, atol=1e-4)
