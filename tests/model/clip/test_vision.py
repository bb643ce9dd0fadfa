"""Dense features of open_clip's vision transformer."""

from collections.abc import Iterator

import numpy as np
import open_clip
import pytest
import torch

from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.vision import require_plain_vit, tokens_before_last_block
from lexiseg_model.errors import ShapeError, WeightsError
from tests.golden import golden_inputs as golden
from tests.golden.weights import SEED
from tests.model.clip import small


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("shape", [(1, 3, 33, 32), (1, 3, 32, 31), (1, 3, 0, 32), (3, 32, 32), (1, 1, 32, 32)])
def test_images_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="expected"):
        tokens_before_last_block(small.visual(), torch.zeros(shape), "size")


def test_towers_whose_last_block_cannot_be_opened_are_refused() -> None:
    pooling = open_clip.transformer.VisionTransformer(32, 8, 32, 1, 2, 2.0, output_dim=16, attentional_pool=True)
    custom = open_clip.transformer.VisionTransformer(32, 8, 32, 1, 2, 2.0, output_dim=16, block_type="custom")

    with pytest.raises(WeightsError, match="pools otherwise"):
        require_plain_vit(pooling)
    with pytest.raises(WeightsError, match="plain attention blocks"):
        require_plain_vit(custom)
    with pytest.raises(WeightsError, match="Linear"):
        require_plain_vit(torch.nn.Linear(2, 2))


def test_pixels_are_normalised_as_by_open_clip() -> None:
    image = golden.image(SEED, "normalise", 40, 56)

    found = normalise(torch.from_numpy(image.transpose(2, 0, 1).copy())[None], "clip")

    expected = golden.normalise(image, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD, 255.0)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7, atol=1e-7)
