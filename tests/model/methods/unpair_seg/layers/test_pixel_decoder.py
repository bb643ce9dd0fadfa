from __future__ import annotations

import torch

from tests.model.methods.unpair_seg import small


def test_features_come_at_stride_four_and_from_coarse_to_fine() -> None:
    found = small.network().features(small.maps(images=2))

    assert found.masks.shape == (2, small.WIDTH, 16, 24)
    assert [tuple(each.shape) for each in found.levels] == [(2, 32, 2, 3), (2, 32, 4, 6), (2, 32, 8, 12)]


@torch.no_grad()
def test_features_of_an_image_do_not_depend_on_its_neighbour() -> None:
    network, both = small.network(), small.maps(images=2)

    together, alone = network.features(both), network.features([each[1:] for each in both])

    torch.testing.assert_close(together.masks[1:], alone.masks, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_half_precision_around_it_does_not_reach_inside() -> None:
    network, maps = small.network(), small.maps()

    with torch.autocast("cpu", torch.bfloat16):
        found = network.features(maps)

    assert found.masks.dtype == torch.float32
    assert torch.equal(found.masks, network.features(maps).masks)


@torch.no_grad()
def test_levels_see_each_other() -> None:
    network, maps = small.network(), small.maps()
    changed = [*maps[:3], maps[3] + torch.randn_like(maps[3])]

    found, other = network.features(maps), network.features(changed)

    assert not torch.allclose(found.levels[2], other.levels[2], atol=1e-3)
