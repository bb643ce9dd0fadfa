from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import DeformableAttention, sample_levels
from lexiseg_model.methods.unpair_seg.layers.prompts import cell_centres

SIZES = [(2, 3), (4, 6)]
CELLS = 2 * 3 + 4 * 6


def by_hand(values: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """The definition, one place after the other: [S, D], [levels, points, 2], [levels, points] -> [D]."""
    total, first = torch.zeros(values.shape[1]), 0
    for level, (height, width) in enumerate(SIZES):
        for (x, y), weight in zip(places[level].tolist(), weights[level].tolist(), strict=True):
            column, row = x * width - 0.5, y * height - 0.5
            for r in range(height):
                for c in range(width):
                    near = max(0.0, 1 - abs(row - r)) * max(0.0, 1 - abs(column - c))
                    total += weight * near * values[first + r * width + c]
        first += height * width
    return total


def test_sampling_follows_its_definition_inside_and_beyond_the_edges() -> None:
    torch.manual_seed(0)
    values = torch.randn(2, CELLS, 2, 5)
    places = torch.rand(2, 3, 2, len(SIZES), 4, 2) * 1.6 - 0.3
    weights = torch.rand(2, 3, 2, len(SIZES), 4)

    found = sample_levels(values, SIZES, places, weights).view(2, 3, 2, 5)

    for n in range(2):
        for query in range(3):
            for head in range(2):
                expected = by_hand(values[n, :, head], places[n, query, head], weights[n, query, head])
                torch.testing.assert_close(found[n, query, head], expected)


def test_a_new_attention_looks_around_evenly_and_further_with_each_point() -> None:
    attention = DeformableAttention(width=16, heads=8, levels=2, points=4)

    offsets = attention.offsets.bias.detach().view(8, 2, 4, 2)

    torch.testing.assert_close(offsets[0, 0], torch.tensor([[1.0, 0.0], [2, 0], [3, 0], [4, 0]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(offsets[1, 1, 2], torch.tensor([3.0, 3.0]))
    assert not attention.offsets.weight.any()
    assert not attention.weights.weight.any()


def test_offsets_are_counted_in_cells_of_the_level_looked_at() -> None:
    attention = DeformableAttention(width=8, heads=1, levels=2, points=1)
    with torch.no_grad():
        attention.offsets.bias.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0]))  # one cell to the right on either level
        attention.weights.bias.copy_(torch.tensor([100.0, 0.0]))  # only the first level counts
        for layer in (attention.values, attention.output):
            layer.weight.copy_(torch.eye(8))
    sources = torch.randn(1, CELLS, 8)

    found = attention(torch.zeros(1, 6, 8), cell_centres(*SIZES[0]), sources, SIZES)

    torch.testing.assert_close(found[0, 0], sources[0, 1])
    torch.testing.assert_close(found[0, 2], torch.zeros(8))  # beyond the right edge


def test_every_parameter_of_the_attention_learns() -> None:
    torch.manual_seed(0)
    attention = DeformableAttention(width=16, heads=4, levels=2, points=2)
    cells = torch.randn(2, CELLS, 16)

    attention(cells, torch.cat([cell_centres(*size) for size in SIZES]), cells, SIZES).square().sum().backward()

    assert all(each.grad is not None and each.grad.any() for each in attention.parameters())
