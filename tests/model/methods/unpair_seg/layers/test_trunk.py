from __future__ import annotations

import pytest
import torch
from torch import nn

from lexiseg_model.errors import ShapeError, WeightsError
from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk, normalised
from tests.model.methods.unpair_seg import small

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(4))


def test_maps_come_at_four_strides() -> None:
    trunk = small.trunk()

    found = trunk(IMAGES)

    assert [tuple(each.shape) for each in found.stages] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(trunk.channels, (4, 8, 16, 32), strict=True)
    ]
    assert found.dense.shape == found.stages[3].shape


@torch.no_grad()
def test_a_mask_over_everything_is_embedded_as_clip_embeds_the_image() -> None:
    trunk = small.trunk()

    pooled = regions.pool(trunk(IMAGES).dense, torch.ones(2, 1, 16, 24))

    torch.testing.assert_close(trunk.embed(pooled)[:, 0], trunk.visual(IMAGES), atol=1e-5, rtol=1e-5)


def test_the_trunk_stays_frozen_while_the_rest_trains() -> None:
    trunk = small.trunk()

    nn.ModuleList([trunk]).train()

    assert not any(module.training for module in trunk.modules())
    assert not any(each.requires_grad for each in trunk.parameters())
    assert torch.equal(trunk(IMAGES).dense, trunk(IMAGES).dense)  # no layer is left out by chance


def test_sides_that_leave_a_rest_are_refused() -> None:
    with pytest.raises(ShapeError, match="divide by 32"):
        small.trunk()(torch.zeros(1, 3, 64, 80))


def test_another_image_tower_is_refused() -> None:
    with pytest.raises(WeightsError, match="over a ConvNeXt CLIP, this model has a Linear"):
        ClipTrunk(nn.Linear(2, 2))


def test_grey_is_near_zero() -> None:
    pixels = torch.tensor([123, 117, 104], dtype=torch.uint8)[None, :, None, None]

    assert normalised(pixels).abs().max() < 0.01
