"""A picture halved, compiled and by numpy, against means in floating point."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lexiseg_model.masks.halve import halve
from tests.kernel import both_ways, require_kernel


@pytest.mark.parametrize("shape", [(3, 288, 384), (1, 2, 2), (2, 4, 70), (3, 5, 7)])
def test_a_pixel_is_the_mean_of_four_and_of_a_tie_the_even_one(shape: tuple[int, int, int]) -> None:
    require_kernel()
    planes = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    mean = F.avg_pool2d(torch.from_numpy(planes).float(), 2).round().byte().numpy()

    compiled, plain = both_ways(lambda: halve(planes))

    np.testing.assert_array_equal(compiled, mean)
    np.testing.assert_array_equal(plain, mean)
