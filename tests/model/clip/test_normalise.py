"""The three normalisations, against the fixtures' exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lexiseg_model.clip.images import Normalisation, normalise
from tests.golden import golden_inputs as golden
from tests.golden.weights import SEED


@pytest.mark.parametrize(
    ("name", "mean", "std", "scale"),
    [
        ("clip_rounded", golden.CLIP_MEAN_255, golden.CLIP_STD_255, 1.0),
        ("imagenet", golden.IMAGENET_MEAN, golden.IMAGENET_STD, 255.0),
        ("clip", (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 255.0),
    ],
)
def test_pixels_become_the_reference_s_input(
    name: Normalisation, mean: tuple[float, ...], std: tuple[float, ...], scale: float
) -> None:
    image = golden.image(SEED, "normalise", 40, 56)

    found = normalise(torch.from_numpy(image.transpose(2, 0, 1).copy())[None], name)

    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), golden.normalise(image, mean, std, scale), rtol=1e-7, atol=1e-7)
