"""The grounder on a small tower: where it starts, what it looks at, what it learns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip.vision import Tokens, last_block
from lexiseg_model.methods.tcl.grounder import STRIDE, DecoderStage, GatedConvolution, value_only
from tests.model.methods.tcl.small import EMBEDDING, small_network

CELLS = 16 // STRIDE  # of the embedding per patch, along each axis


def some_tokens(grid: tuple[int, int] = (2, 3)) -> Tokens:
    count = 1 + grid[0] * grid[1]
    return Tokens(torch.randn(2, count, 32, generator=torch.Generator().manual_seed(0)), grid)


def test_there_is_one_vector_for_each_cell_of_the_stride() -> None:
    assert small_network().grounder(*some_tokens()).shape == (2, EMBEDDING, 2 * CELLS, 3 * CELLS)


@torch.no_grad()
def test_a_new_grounder_is_clip_upsampled() -> None:
    network = small_network(gate=0.0)
    tokens = some_tokens()

    embedding = network.grounder(*tokens)

    coarse = network.clip_embedding(network.dense(tokens))
    torch.testing.assert_close(embedding, F.interpolate(coarse, scale_factor=CELLS, mode="nearest"))


@torch.no_grad()
def test_every_token_attends_to_itself_alone() -> None:
    block = last_block(small_network().visual)
    tokens = some_tokens().tokens
    itself = torch.full((7, 7), -torch.inf).fill_diagonal_(0)

    torch.testing.assert_close(value_only(block, tokens), block(tokens, attn_mask=itself))


@torch.no_grad()
def test_the_class_token_is_not_looked_at() -> None:
    grounder = small_network().grounder
    tokens, grid = some_tokens()
    others = tokens.clone()
    others[:, 0] += 1

    assert torch.equal(grounder(tokens, grid), grounder(others, grid))


def test_patches_keep_their_places() -> None:
    network = small_network(gate=0.0)
    tokens, grid = some_tokens()
    changed = tokens.clone()
    changed[:, 1 + 1 * 3 + 2] += 1  # row 1, column 2

    differs = (network.grounder(tokens, grid) != network.grounder(changed, grid)).any(1)[0]

    expected = torch.zeros(8, 12, dtype=torch.bool)
    expected[4:, 8:] = True
    assert torch.equal(differs, expected)


def plain_convolution(block: GatedConvolution, maps: Tensor) -> Tensor:
    """The formula, channel by channel."""
    mean, variance = maps.mean(1, keepdim=True), maps.var(1, unbiased=False, keepdim=True)
    normed = (maps - mean) / (variance + 1e-5).sqrt()
    normed = normed * block.norm.weight.view(-1, 1, 1) + block.norm.bias.view(-1, 1, 1)
    activated = normed * 0.5 * (1 + torch.erf(normed / 2**0.5))
    return block.gate.tanh() * F.conv2d(activated, block.conv.weight, block.conv.bias, padding=1)


@torch.no_grad()
def test_a_stage_is_two_gated_convolutions_over_doubled_cells() -> None:
    torch.manual_seed(0)
    stage = DecoderStage(6)
    for block in (stage.first, stage.second):
        torch.nn.init.normal_(block.gate)
        torch.nn.init.normal_(block.norm.weight)
        torch.nn.init.normal_(block.norm.bias)
    maps = torch.randn(2, 6, 3, 5)

    doubled = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    doubled = doubled + plain_convolution(stage.first, doubled)
    doubled = doubled + plain_convolution(stage.second, doubled)

    torch.testing.assert_close(stage(maps), doubled, atol=1e-5, rtol=1e-5)


def test_the_grounder_learns_and_the_tower_does_not() -> None:
    network = small_network()

    network(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))).grounder.square().mean().backward()

    assert [name for name, weight in network.grounder.named_parameters() if weight.grad is None] == []
    assert [name for name, weight in network.visual.named_parameters() if weight.grad is not None] == []


def test_learning_leaves_the_tower_it_was_copied_from_alone() -> None:
    network = small_network()
    before = {name: weight.clone() for name, weight in network.visual.state_dict().items()}

    with torch.no_grad():
        for weight in network.grounder.parameters():
            weight.add_(1)

    assert all(torch.equal(before[name], weight) for name, weight in network.visual.state_dict().items())


@pytest.mark.parametrize("kind", ["block", "projection"])
def test_a_new_grounder_holds_copies_of_the_towers_end(kind: str) -> None:
    network = small_network()

    if kind == "block":
        ours, theirs = network.grounder.block.mlp.c_fc.weight, last_block(network.visual).mlp.c_fc.weight
    else:
        ours, theirs = network.grounder.projection.matrix, network.visual.proj

    assert torch.equal(ours, theirs)
    assert ours.data_ptr() != theirs.data_ptr()
