from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.layers.trunk import RegionAdapter
from tests.model.methods.unpair_seg import small

MASKS = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(5))


def adapter() -> RegionAdapter:
    torch.manual_seed(0)
    return RegionAdapter(small.CHANNELS, small.WIDTH, width=32)


def test_an_untrained_adapter_is_clip() -> None:
    made, maps = adapter(), small.maps()

    found = made.pooled(made(maps, small.features(small.network()).levels), maps[3], MASKS)

    assert torch.equal(found, regions.pool(maps[3], MASKS))
