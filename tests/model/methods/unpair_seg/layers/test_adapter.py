from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.layers.trunk import RegionAdapter
from tests.model.methods.unpair_seg import small

MASKS = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(5))


def adapter() -> RegionAdapter:
    torch.manual_seed(0)
    return RegionAdapter(small.CHANNELS, small.WIDTH, width=32)


def test_the_adapter_sees_all_maps_at_stride_eight() -> None:
    made, maps, levels = adapter(), small.maps(), small.features(small.network()).levels

    found = made(maps, levels)

    assert found.shape == (1, 32, 8, 12)
    for index in range(4):
        changed = [each + torch.randn_like(each) if at == index else each for at, each in enumerate(maps)]
        assert not torch.allclose(made(changed, levels), found, atol=1e-3)
    for index in range(3):
        other = [each + torch.randn_like(each) if at == index else each for at, each in enumerate(levels)]
        assert not torch.allclose(made(maps, other), found, atol=1e-3)


def test_an_untrained_adapter_is_clip() -> None:
    made, maps = adapter(), small.maps()

    found = made.pooled(made(maps, small.features(small.network()).levels), maps[3], MASKS)

    assert torch.equal(found, regions.pool(maps[3], MASKS))


def test_a_mask_that_clip_s_map_is_too_coarse_for_keeps_its_shape_on_the_finer_one() -> None:
    made, maps, fine = adapter(), small.maps(), torch.randn(1, 32, 8, 12)
    torch.nn.init.normal_(made.output.weight)
    masks = torch.full((1, 1, 16, 24), -9.0)
    masks[..., 4:6, 4:6] = 9.0  # one cell at stride 8, nothing at stride 32

    found = made.pooled(fine, maps[3], masks, regions.pool_legible)

    expected = maps[3][0, :, 0, 0] + made.output(fine[0, :, 2, 2])
    torch.testing.assert_close(found[0, 0], expected)


def test_the_adapter_learns_from_its_first_step_on() -> None:
    made, maps, levels = adapter(), small.maps(), small.features(small.network()).levels
    optimizer = torch.optim.SGD(made.parameters(), 0.01)
    losses = []
    for _ in range(3):
        loss = (made.pooled(made(maps, levels), maps[3], MASKS) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))

    assert losses[2] < losses[1] < losses[0]
    assert all(each.grad is not None and each.grad.any() for each in made.parameters())
