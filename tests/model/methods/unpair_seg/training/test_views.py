from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.training.views import at_sizes
from tests.model.methods.unpair_seg import small

IMAGES = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(4))
MASKS = torch.randn(1, 5, 16, 24, generator=torch.Generator().manual_seed(5))


def test_an_image_at_its_own_size_is_seen_as_it_is() -> None:
    trunk = small.trunk()

    (found,) = at_sizes(trunk, IMAGES, MASKS, [96])

    assert torch.equal(found, trunk.embed(regions.pool(trunk(IMAGES).dense, MASKS)))


def test_every_size_is_another_view_of_the_same_regions() -> None:
    seen: list[torch.Size] = []
    trunk = small.trunk()
    trunk.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))

    found = at_sizes(trunk, IMAGES, MASKS, [40, 96, 180])

    assert [tuple(each) for each in seen] == [(1, 3, 32, 32), (1, 3, 64, 96), (1, 3, 128, 192)]
    assert {tuple(each.shape) for each in found} == {(1, 5, 24)}
    assert not torch.allclose(found[1], found[2], atol=1e-3)
