"""What lone points say, by the kernel and by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lexiseg_model.kernel.points import BY_LANES
from lexiseg_model.methods.tiny.prompt_maps import HEADS, LONE, MAP_STRIDE, Prompts, lone_maps, lone_maps_within
from tests.kernel import both_ways, require_kernel


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(6, 10), (36, 48), (1, 3)])
def test_points_in_and_around_a_picture(size: tuple[int, int], memory_format: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    grouping, pixels = (torch.randn(1, channels, *size, generator=generator) for channels in (64, 6 * BY_LANES))
    grouping = F.normalize(grouping.view(1, HEADS, -1, *size), dim=2).view_as(grouping)
    grouping, pixels = (part.contiguous(memory_format=memory_format) for part in (grouping, F.normalize(pixels, dim=1)))
    height, width = (side * MAP_STRIDE for side in size)
    corners = [[0.0, 0.0], [width, height], [-50.0, height / 2], [1e4, -1e4], [width / 3, 8.0], [4.0, 4.0]]
    points, nothing = torch.tensor(corners)[None, :, None], torch.zeros(1, len(corners), 4)
    prompts = Prompts(points, torch.ones(points.shape[:3]), nothing, nothing[..., 0])

    compiled, plain = both_ways(lambda: lone_maps(prompts, grouping, pixels))

    assert compiled.shape == (1, len(corners), len(LONE), *size)
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=0)


def test_some_cells_are_told_what_they_are_told_among_all() -> None:
    require_kernel()
    generator = torch.Generator().manual_seed(0)
    grouping, pixels = (torch.randn(1, channels, 20, 36, generator=generator) for channels in (64, 6 * BY_LANES))
    points, corners = torch.tensor([[3.0, 150.0], [200.0, 80.0]]), np.array([[0, 0], [8, 18]])

    whole, some = (
        lone_maps_within(points, grouping, pixels, where, size)
        for where, size in ((0 * corners, (20, 36)), (corners, (12, 18)))
    )

    assert torch.equal(some[0, 0], whole[0, 0, :, :12, :18])
    assert torch.equal(some[0, 1], whole[0, 1, :, 8:20, 18:36])
