"""Pictures at the size of the network's input, and at half of it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from lexiseg_model.methods.tiny.image_pass import halved


def test_a_pixel_of_the_guide_is_the_mean_of_four_and_of_a_tie_the_even_one() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 288, 384), np.uint8)

    mean = F.avg_pool2d(torch.from_numpy(planes).float(), 2).round().byte().numpy()

    np.testing.assert_array_equal(halved(planes), mean)
