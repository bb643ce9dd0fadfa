from __future__ import annotations

import pytest
import torch

from lexiseg_model.errors import ShapeError
from lexiseg_model.methods.unpair_seg.layers.prompts import Places, PromptEncoder
from tests.model.methods.unpair_seg import small

POINTS = torch.tensor([[[20.0, 30.0], [70.5, 12.0]]])
BOXES = torch.tensor([[[10.0, 8.0, 60.0, 40.0]]])


@pytest.fixture
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder(small.WIDTH)


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(1, small.WIDTH, 16, 24, generator=torch.Generator().manual_seed(2))


def test_a_point_is_two_corners_and_five_masks_of_which_four_are_read(
    encoder: PromptEncoder, maps: torch.Tensor
) -> None:
    prompt = encoder.points(POINTS, maps, small.SIZE)

    assert prompt.tokens.shape == (1, 2, 7, small.WIDTH)
    assert (prompt.read, prompt.heads) == ((3, 4, 5, 6), (1, 2, 3, 4))
    torch.testing.assert_close(prompt.tokens[0, 1, 2:], encoder.mask[0])


def test_a_box_reads_the_mask_that_stands_alone(encoder: PromptEncoder, maps: torch.Tensor) -> None:
    prompt = encoder.boxes(BOXES, maps, small.SIZE)

    assert prompt.tokens.shape == (1, 1, 7, small.WIDTH)
    assert (prompt.read, prompt.heads) == ((2,), (0,))


def test_several_points_are_read_behind_their_last_corner(encoder: PromptEncoder, maps: torch.Tensor) -> None:
    places = Places.of_points(torch.rand(1, 2, 3, 2) * 60, torch.tensor([[[True, True, False]] * 2]))

    prompt = encoder.together(places, maps, small.SIZE)

    assert prompt.tokens.shape == (1, 2, 7, small.WIDTH)
    assert prompt.read == (6,)
    torch.testing.assert_close(prompt.tokens[0, 0, 6], encoder.mask[0, 0])


def test_one_point_alone_and_in_company_has_the_same_corners(encoder: PromptEncoder, maps: torch.Tensor) -> None:
    alone = encoder.points(POINTS, maps, small.SIZE).tokens[:, :, :2]

    others = torch.rand(1, 2, 2, 2) * 60
    company = encoder.together(Places.of_points(torch.cat([POINTS[:, :, None], others], 2)), maps, small.SIZE)

    torch.testing.assert_close(company.tokens[:, :, :2], alone)


def test_a_point_off_the_object_differs_by_the_learned_sign(encoder: PromptEncoder, maps: torch.Tensor) -> None:
    one = POINTS[:, :, None]
    on = encoder.corners(Places.of_points(one), maps, small.SIZE)
    off = encoder.corners(Places.of_points(one, torch.zeros(1, 2, 1, dtype=torch.bool)), maps, small.SIZE)

    difference = (encoder.sign[1] - encoder.sign[0]).expand_as(on)
    torch.testing.assert_close(on - off, difference, atol=1e-5, rtol=1e-5)


def test_a_box_with_a_point_holds_the_corners_of_both(encoder: PromptEncoder, maps: torch.Tensor) -> None:
    box, point = Places.of_boxes(BOXES), Places.of_points(POINTS[:, :1, None])

    corners = encoder.corners(box.beside(point), maps, small.SIZE)

    torch.testing.assert_close(corners[:, :, :2], encoder.corners(box, maps, small.SIZE))
    torch.testing.assert_close(corners[:, :, 2:], encoder.corners(point, maps, small.SIZE))


def test_a_prompt_carries_what_the_image_shows_at_its_centre(encoder: PromptEncoder) -> None:
    maps = torch.zeros(1, small.WIDTH, 16, 24)
    maps[0, :, 6, 8] = 1  # centre of the cell at x 34, y 26 of 96 x 64
    bright, dark = (
        encoder.corners(Places.of_points(torch.tensor([[[[34.0, 26.0]]]])), each, small.SIZE)
        for each in (maps, torch.zeros_like(maps))
    )

    torch.testing.assert_close(bright - dark, torch.ones_like(dark), atol=1e-5, rtol=1e-5)


def test_boxes_of_the_wrong_shape_are_refused(encoder: PromptEncoder, maps: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"expected boxes \[B, Q, P, 4\]"):
        encoder.corners(Places(BOXES, BOXES > 0, BOXES > 0), maps, small.SIZE)
