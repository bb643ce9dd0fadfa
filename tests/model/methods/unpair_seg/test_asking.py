from __future__ import annotations

import pytest
import torch

from lexiseg_model.errors import OptionError, ShapeError
from lexiseg_model.methods.unpair_seg import asking
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


def assert_same(found: asking.Answer, expected: asking.Answer) -> None:
    torch.testing.assert_close(found.masks, expected.masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.quality, expected.quality, atol=1e-5, rtol=0)


def test_answers_come_in_the_order_of_prompts_and_do_not_depend_on_company() -> None:
    network = small.network()
    features = small.features(network)

    together = ask(network, features, MIXED, (1, 1), small.SIZE)

    assert [len(answer.quality) for answer in together] == [1, 4, 1, 4, 1, 1, 1]
    for prompt, found in zip(MIXED, together, strict=True):
        assert_same(found, ask(network, features, [prompt], (1, 1), small.SIZE)[0])


def test_many_prompts_go_in_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small.network()
    features = small.features(network)
    whole = ask(network, features, [ONE, OTHER, ONE], (1, 1), small.SIZE)

    monkeypatch.setattr(asking, "PER_PASS", 2)

    for found, expected in zip(ask(network, features, [ONE, OTHER, ONE], (1, 1), small.SIZE), whole, strict=True):
        assert_same(found, expected)


@torch.no_grad()
def test_the_masks_of_a_point_come_best_first() -> None:
    network = small.network()
    features = small.features(network)

    (answer,) = ask(network, features, [ONE], (1, 1), small.SIZE)

    plain = network.points(features, torch.tensor([[[20.0, 30.0]]]), small.SIZE)
    order = plain.quality[0, 0].argsort(descending=True)
    torch.testing.assert_close(answer.quality, plain.quality[0, 0, order].sigmoid())
    torch.testing.assert_close(answer.masks, plain.masks[0, 0, order])


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


def test_prompts_are_pixels_of_the_image_however_it_was_resized() -> None:
    network = small.network()
    features = small.features(network)
    doubled = [Prompt(points=(Point(40, 90),)), Prompt(box=(20, 24, 120, 120))]

    for found, expected in zip(
        ask(network, features, doubled, (0.5, 1 / 3), small.SIZE),
        ask(network, features, [ONE, BOX], (1, 1), small.SIZE),
        strict=True,
    ):
        assert_same(found, expected)


def test_no_prompts_have_no_answers() -> None:
    network = small.network()

    assert ask(network, small.features(network), [], (1, 1), small.SIZE) == []


def test_a_prompt_that_says_nothing_and_a_batch_of_images_are_refused() -> None:
    network = small.network()

    with pytest.raises(OptionError, match="prompt 1 has neither points nor a box"):
        ask(network, small.features(network), [ONE, Prompt()], (1, 1), small.SIZE)
    with pytest.raises(ShapeError, match="features of one image, got 2"):
        ask(network, small.features(network, images=2), [ONE], (1, 1), small.SIZE)


def test_only_several_points_without_a_box_are_read_as_the_released_code_reads_them() -> None:
    network = small.network()
    features = small.features(network)

    sane = ask(network, features, MIXED, (1, 1), small.SIZE)
    released = ask(network, features, MIXED, (1, 1), small.SIZE, "released")

    for prompt, ours, theirs in zip(MIXED, sane, released, strict=True):
        same = torch.equal(ours.masks, theirs.masks)
        assert same is (prompt not in (PAIR, OFF))
