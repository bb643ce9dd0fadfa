"""What masks show of themselves, by the kernel and by torch."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.methods.tiny.click_order import contrast, evidence
from tests.kernel import both_ways


@pytest.mark.parametrize("size", [(24, 40), (7, 19), (1, 5), (3, 1)])
def test_any_masks(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    picture = contrast(torch.randn(3, 2 * size[0], 2 * size[1], generator=generator), size)
    masks = 2 * torch.randn(3, 4, *size, generator=generator)
    masks[0, 0], masks[0, 1], masks[0, 2] = -5, 5, 0  # nothing, all, and what is on no side

    compiled, plain = both_ways(lambda: evidence(masks, picture))

    assert compiled.shape == (3, 4, 3)
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-5)
