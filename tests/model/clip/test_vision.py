"""Dense features of open_clip's vision transformer."""

from __future__ import annotations

from collections.abc import Iterator

import open_clip
import pytest
import torch

from lexiseg_model.clip.vision import (
    PositionRule,
    image_embedding,
    require_plain_vit,
    tokens_before_last_block,
)
from lexiseg_model.errors import ShapeError, WeightsError
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
