from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg.asking import ask
from lexiseg_model.methods.unpair_seg.layers.prompts import Places
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
    points = torch.tensor([[[[20.0, 30.0], [50.0, 10.0]]]])
    box = Places.of_boxes(torch.tensor([[[10.0, 8.0, 60.0, 40.0]]]))

    pair, both = ask(network, features, [PAIR, BOTH], (1, 1), small.SIZE)

    signed = Places.of_points(points, torch.tensor([[[True, False]]]))
    torch.testing.assert_close(pair.masks, network.together(features, signed, small.SIZE).masks[0, 0])
    joined = box.beside(Places.of_points(points[:, :, :1]))
    torch.testing.assert_close(both.masks, network.together(features, joined, small.SIZE).masks[0, 0])


def test_only_several_points_without_a_box_are_read_as_the_released_code_reads_them() -> None:
    network = small.network()
    features = small.features(network)

    sane = ask(network, features, MIXED, (1, 1), small.SIZE)
    released = ask(network, features, MIXED, (1, 1), small.SIZE, "released")

    for prompt, ours, theirs in zip(MIXED, sane, released, strict=True):
        same = torch.equal(ours.masks, theirs.masks)
        assert same is (prompt not in (PAIR, OFF))
