"""Input maps of the prompt head."""

import torch

from lexiseg_model.methods.tiny.prompt_maps import CHANNELS, HEADS, POINT_CHANNELS, Prompts, point_maps, prompt_maps


def test_maps_of_a_lone_point_hold_all_its_channels() -> None:
    nothing = torch.zeros(1, 1, 4)
    point = Prompts(torch.tensor([[[[20.0, 13.0]]]]), torch.ones(1, 1, 1), nothing, nothing[..., 0])
    left = torch.arange(8) < 4
    halves = torch.stack([left, ~left]).float()[None, :, None].expand(1, 2, 6, 8)  # unit vectors in 6 x 8 cells
    grouping = halves.repeat(1, HEADS, 1, 1)

    lone, maps = point_maps(point, grouping, halves), prompt_maps(point, grouping, halves)

    torch.testing.assert_close(lone, maps[:, :, POINT_CHANNELS])
    assert not maps[:, :, [channel for channel in range(CHANNELS) if channel not in POINT_CHANNELS]].any()
