import numpy as np
import torch

from lexiseg_model.methods.unpair_seg.canvas import Canvas, image_to_canvas, laid_on, lay_out
from lexiseg_model.methods.unpair_seg.layers.prompts import Places
from lexiseg_model.methods.unpair_seg.proposals import prompt_masks
from lexiseg_model.types import Point, Prompt
from tests.model.methods.unpair_seg import small

ONE = Prompt(points=(Point(20, 30),))
OTHER = Prompt(points=(Point(70, 12),))
BOX = Prompt(box=(10, 8, 60, 40))
PAIR = Prompt(points=(Point(20, 30), Point(50, 10, positive=False)))
BOTH = Prompt(points=(Point(20, 30),), box=(10, 8, 60, 40))
OFF = Prompt(points=(Point(20, 30, positive=False),))
MIXED = [BOX, ONE, PAIR, OTHER, BOTH, OFF, BOX]


@torch.no_grad()
def test_a_box_with_a_point_and_signs_reach_the_network() -> None:
    network = small.network()
    features = small.features(network)

    def masks(places: Places) -> torch.Tensor:
        tokens = network.predictor.prompt_encoder.together(places, features.masks, small.SIZE)
        return network.decode(features, tokens).masks[0, 0]

    points = torch.tensor([[[[20.0, 30.0], [50.0, 10.0]]]])
    box = Places.of_boxes(torch.tensor([[[10.0, 8.0, 60.0, 40.0]]]))

    pair, both = prompt_masks(network, features, [PAIR, BOTH], (1, 1), small.SIZE)

    signed = Places.of_points(points, torch.tensor([[[True, False]]]))
    torch.testing.assert_close(pair.masks, masks(signed))
    joined = box.beside(Places.of_points(points[:, :, :1]))
    torch.testing.assert_close(both.masks, masks(joined))


def test_only_several_points_without_a_box_are_read_as_the_released_code_reads_them() -> None:
    network = small.network()
    features = small.features(network)

    sane = prompt_masks(network, features, MIXED, (1, 1), small.SIZE)
    released = prompt_masks(network, features, MIXED, (1, 1), small.SIZE, "released")

    for prompt, ours, theirs in zip(MIXED, sane, released, strict=True):
        same = torch.equal(ours.masks, theirs.masks)
        assert same is (prompt not in (PAIR, OFF))


def test_the_longer_side_is_filled_and_the_rest_is_grey() -> None:
    canvas = lay_out((60, 100), 128)

    tile = laid_on(np.full((60, 100, 3), 7, np.uint8), canvas)

    assert canvas == Canvas((128, 128), (76, 128))
    assert tile.shape == (3, 128, 128)
    assert (tile[:, :76] == 7).all()
    assert (tile[:, 76:] == 128).all()


def test_beyond_the_image_nothing_is_in_a_mask() -> None:
    masks = torch.randn(2, 10, 16)

    placed = image_to_canvas(masks, Canvas((64, 64), (40, 64)))

    assert torch.equal(placed[:, :10], masks)
    assert (placed[:, 10:] < -5).all()
