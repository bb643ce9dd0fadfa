"""Parts of the network: the trunk is timm's EfficientNet-Lite2; halved planes; input maps of the prompt head."""

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.released import trunk
from lexiseg_model.methods.tiny.picture import halved
from lexiseg_model.methods.tiny.prompt_maps import CHANNELS, HEADS, POINT_CHANNELS, Prompts, point_maps, prompt_maps
from lexiseg_model.methods.tiny.trunk import HEAD, WIDTHS, Trunk


def test_the_trunk_equals_timms_network() -> None:
    assert trunk.compare(0, (96, 160)) <= 1e-5


@torch.inference_mode()
def test_each_level_has_the_size_of_its_stride() -> None:
    pyramid, head = Trunk().eval()(torch.zeros(2, 3, 96, 160))

    assert [tuple(level.shape[1:]) for level in pyramid] == [
        (width, 96 // stride, 160 // stride) for width, stride in zip(WIDTHS, (4, 8, 16, 32), strict=True)
    ]
    assert head.shape == (2, HEAD, 3, 5)


def test_halved_planes_are_the_rounded_means_of_their_pixels() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 64, 96), np.uint8)

    means = F.avg_pool2d(torch.from_numpy(planes).float(), 2).round().byte()

    assert np.array_equal(halved(planes), means.numpy())


def test_maps_of_a_lone_point_hold_all_its_channels() -> None:
    nothing = torch.zeros(1, 1, 4)
    point = Prompts(torch.tensor([[[[20.0, 13.0]]]]), torch.ones(1, 1, 1), nothing, nothing[..., 0])
    left = torch.arange(8) < 4
    halves = torch.stack([left, ~left]).float()[None, :, None].expand(1, 2, 6, 8)  # unit vectors in 6 x 8 cells
    grouping = halves.repeat(1, HEADS, 1, 1)

    lone, maps = point_maps(point, grouping, halves), prompt_maps(point, grouping, halves)

    torch.testing.assert_close(lone, maps[:, :, POINT_CHANNELS])
    assert not maps[:, :, [channel for channel in range(CHANNELS) if channel not in POINT_CHANNELS]].any()
