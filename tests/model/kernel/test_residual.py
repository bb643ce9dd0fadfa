"""Residual blocks, compiled and by torch: alike but for the last digits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lexiseg_model.kernel.residual import fits, residual, transformed


# Maps whose sides are whole numbers of tiles, and not; fewer tiles than are done at once, and more; narrower than one.
@pytest.mark.parametrize(
    ("channels", "n", "size"),
    [(48, 3, (18, 24)), (32, 2, (36, 48)), (32, 1, (7, 9)), (48, 2, (1, 3)), (48, 0, (4, 4))],
)
def test_a_block_is_two_convolutions_beside_its_maps(channels: int, n: int, size: tuple[int, int]) -> None:
    if not fits(channels):
        pytest.skip("no blocks for this processor")
    torch.manual_seed(channels)
    maps = torch.randn(n, channels, *size)
    first, second = (torch.randn(channels, channels, 3, 3) * (2 / (9 * channels)) ** 0.5 for _ in range(2))
    bias, other_bias = torch.randn(channels), torch.randn(channels)
    between = F.relu(F.conv2d(maps, first, bias, padding=1))
    expected = F.relu(F.conv2d(between, second, other_bias, padding=1) + maps)

    made = residual(
        maps.permute(0, 2, 3, 1).numpy(),
        transformed(first.numpy(), bias.numpy()),
        transformed(second.numpy(), other_bias.numpy()),
    )

    torch.testing.assert_close(torch.from_numpy(made).permute(0, 3, 1, 2), expected, rtol=0, atol=1e-4)


def test_other_numbers_of_channels_are_not_for_the_kernel() -> None:
    assert not fits(40)
