import numpy as np
import torch
import torch.nn.functional as F

from lexiseg_model.methods.tiny.picture import halved


def test_halved_planes_are_the_rounded_means_of_their_pixels() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 64, 96), np.uint8)

    means = F.avg_pool2d(torch.from_numpy(planes).float(), 2).round().byte()

    assert np.array_equal(halved(planes), means.numpy())
