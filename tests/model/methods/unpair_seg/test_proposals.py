from __future__ import annotations

import pytest
import torch

from lexiseg_model.errors import ShapeError
from lexiseg_model.masks.nms import OverlapRule
from lexiseg_model.methods.unpair_seg.compatibility import enlarged, to_image
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.network import PromptableMasks
from lexiseg_model.methods.unpair_seg.proposals import grid_points, propose
from lexiseg_model.methods.unpair_seg.settings import Compatibility, ProposalSettings
from tests.model.methods.unpair_seg import small

CANVAS = (64, 64)


@torch.no_grad()
def features_of(images: int = 1) -> tuple[PromptableMasks, PixelFeatures]:
    network = small.network()
    return network, network.features(small.maps(images, CANVAS))


def test_a_grid_covers_the_image_and_spares_the_padding() -> None:
    points = grid_points(2, image=(101, 201), canvas=(513, 513))

    torch.testing.assert_close(points, torch.tensor([[128.0, 64], [384, 64], [128, 192], [384, 192]]))


@pytest.mark.parametrize("compatibility", ["none", "released"])
def test_where_nothing_is_good_enough_the_answer_is_empty(compatibility: Compatibility) -> None:
    network, features = features_of()
    with torch.no_grad():
        for name, each in network.named_parameters():
            if "quality_heads" in name and name.endswith("layers.2.bias"):
                each.fill_(-1000)

    found = propose(network, features, grid_points(3, CANVAS, CANVAS), CANVAS, mode=compatibility)

    assert (len(found.masks), len(found.quality), len(found.source)) == (0, 0, 0)
    assert to_image(found.masks, (30, 50)).shape == (0, 30, 50)
    assert enlarged(found.masks, CANVAS).shape == (0, 64, 64)


def test_only_masks_of_the_asked_quality_are_proposed() -> None:
    network, features = features_of()
    points = grid_points(4, CANVAS, CANVAS)
    lenient = OverlapRule(overlap=1.0, inside=None)
    every = propose(network, features, points, CANVAS, ProposalSettings(quality=0.0, rule=lenient))
    middle = float(every.quality[len(every.quality) // 2])

    some = propose(network, features, points, CANVAS, ProposalSettings(quality=middle, rule=lenient))

    assert 0 < len(some.quality) < len(every.quality)
    assert float(some.quality.min()) >= middle


def test_a_batch_of_images_is_refused() -> None:
    network, features = features_of(images=2)

    with pytest.raises(ShapeError, match="features of one image, got 2"):
        propose(network, features, grid_points(2, CANVAS, CANVAS), CANVAS)
