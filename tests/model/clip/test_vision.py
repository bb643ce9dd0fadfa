"""Dense features of open_clip's vision transformer."""

from collections.abc import Iterator

import numpy as np
import open_clip
import pytest
import torch

from lexiseg_model.clip.images import Normalisation, normalise
from lexiseg_model.clip.vision import PositionRule, image_embedding, require_plain_vit, tokens_before_last_block
from lexiseg_model.errors import ShapeError, WeightsError
from tests.golden import golden_inputs as golden
from tests.golden.weights import SEED
from tests.model.clip import small

RULES: tuple[PositionRule, ...] = ("size", "scale_factor")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("rule", RULES)
def test_at_its_own_size_the_tower_gives_open_clip_s_own_vectors(rule: PositionRule) -> None:
    visual, images = small.visual(), small.images(2)

    found = image_embedding(visual, tokens_before_last_block(visual, images, rule))

    small.assert_alike(found, visual(images))


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
