"""What a prompt looks like to the network, on maps small enough to reckon by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lexiseg_model.methods.tiny.prompt_maps import (
    AWAY,
    CHANNELS,
    HEADS,
    LONE,
    MAP_STRIDE,
    NEAR,
    Prompts,
    lone_maps,
    prompt_maps,
)

HEIGHT, WIDTH = 6, 8  # cells
DISTANCES = slice(0, len(NEAR))
NEGATIVES = slice(len(NEAR), len(NEAR) + len(AWAY))
INSIDE = len(NEAR) + len(AWAY)
SIDES = slice(INSIDE + 1, INSIDE + 5)
FLAGS = slice(INSIDE + 5, INSIDE + 8)
LIKENESS = slice(INSIDE + 8, CHANNELS)
# Kinds of likeness for the four heads, then for the pixels.
TO_POSITIVE, TO_NEGATIVE, TO_MIDDLE, TO_RING = range(4)


def prompts(
    points: Sequence[tuple[float, float, float]] = (), box: tuple[float, float, float, float] | None = None
) -> Prompts:
    """One prompt of one image; points are (x, y, sign)."""
    places = torch.tensor(points or [(0.0, 0.0, 0.0)])
    return Prompts(
        places[None, None, :, :2],
        places[None, None, :, 2],
        torch.tensor(box or (0.0, 0.0, 0.0, 0.0))[None, None],
        torch.tensor([[float(box is not None)]]),
    )


def halves() -> Tensor:
    """[1, 2, HEIGHT, WIDTH]: one unit vector on the left, another on the right."""
    left = torch.arange(WIDTH) < WIDTH // 2
    return torch.stack([left, ~left]).float()[None, :, None].expand(1, 2, HEIGHT, WIDTH)


def maps_of(prompt: Prompts, pixels: Tensor | None = None) -> Tensor:
    """[CHANNELS, HEIGHT, WIDTH] on an image whose halves differ."""
    grouping = halves().repeat(1, HEADS, 1, 1)
    return prompt_maps(prompt, grouping, halves() if pixels is None else pixels)[0, 0]


def likeness(maps: Tensor, kind: int) -> Tensor:
    """[HEADS + 1, HEIGHT, WIDTH] of one kind."""
    found = maps[LIKENESS]
    return torch.cat([found[kind * HEADS : (kind + 1) * HEADS], found[4 * HEADS + kind][None]])


def test_there_is_a_map_for_each_channel() -> None:
    assert maps_of(prompts([(5.0, 5.0, 1.0)])).shape == (CHANNELS, HEIGHT, WIDTH)


def test_the_trace_of_a_point_falls_with_the_distance_in_pixels() -> None:
    centre = MAP_STRIDE / 2

    maps = maps_of(prompts([(centre, centre, 1.0)]))

    assert maps[DISTANCES, 0, 0].tolist() == [1.0] * len(NEAR)
    for scale, trace in zip(NEAR, maps[DISTANCES, 0, 3], strict=True):
        assert trace.item() == pytest.approx(math.exp(-3 * MAP_STRIDE / scale))


def test_of_several_points_the_nearest_counts() -> None:
    near, far = (4.0, 4.0, 1.0), (60.0, 4.0, 1.0)

    together, alone = maps_of(prompts([far, near])), maps_of(prompts([near]))

    torch.testing.assert_close(together[DISTANCES, :, 0], alone[DISTANCES, :, 0])


def test_positive_and_negative_points_leave_traces_apart() -> None:
    maps = maps_of(prompts([(4.0, 4.0, -1.0)]))

    assert not maps[DISTANCES].any()
    assert maps[NEGATIVES, 0, 0].tolist() == [1.0] * len(AWAY)


def test_a_place_without_a_point_leaves_no_trace() -> None:
    with_gap, without = maps_of(prompts([(9.0, 9.0, 1.0), (30.0, 30.0, 0.0)])), maps_of(prompts([(9.0, 9.0, 1.0)]))

    torch.testing.assert_close(with_gap, without)


def test_cells_know_whether_their_centre_is_in_the_box() -> None:
    maps = maps_of(prompts(box=(8.0, 16.0, 32.0, 40.0)))

    inside = torch.zeros(HEIGHT, WIDTH)
    inside[2:5, 1:4] = 1
    assert torch.equal(maps[INSIDE], inside)


def test_sides_are_measured_in_sides_of_the_box() -> None:
    maps = maps_of(prompts(box=(0.0, 0.0, 32.0, 16.0)))

    # The centre of the first cell: 4 pixels from the left of 32, 4 from the top of 16.
    assert maps[SIDES, 0, 0].tolist() == [0.125, 0.875, 0.25, 0.75]


def test_far_from_a_small_box_the_sides_stay_within_bounds() -> None:
    sides = maps_of(prompts(box=(0.0, 0.0, 1.0, 1.0)))[SIDES]

    assert sides.min() >= -1
    assert sides.max() <= 2


def test_flags_say_what_was_given() -> None:
    both = maps_of(prompts([(1.0, 1.0, -1.0)], box=(0.0, 0.0, 8.0, 8.0)))

    assert both[FLAGS, 0, 0].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(("sign", "kind"), [(1.0, TO_POSITIVE), (-1.0, TO_NEGATIVE)])
def test_likeness_to_a_point_is_the_cosine_with_its_cell(sign: float, kind: int) -> None:
    maps = maps_of(prompts([(4.0, 20.0, sign)]))

    expected = halves()[0, 0].expand(HEADS + 1, HEIGHT, WIDTH)
    torch.testing.assert_close(likeness(maps, kind), expected)


def test_pixels_have_a_likeness_of_their_own() -> None:
    blank = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, HEIGHT, WIDTH)

    maps = maps_of(prompts([(4.0, 4.0, 1.0)]), pixels=blank)

    found = likeness(maps, TO_POSITIVE)
    assert found[HEADS].eq(1).all()
    assert torch.equal(found[0], halves()[0, 0])


def test_a_box_is_like_its_middle_and_unlike_what_surrounds_it() -> None:
    # The box fills the left half; on its right lies the other one.
    maps = maps_of(prompts(box=(0.0, 0.0, 32.0, 48.0)))

    torch.testing.assert_close(likeness(maps, TO_MIDDLE), halves()[0, 0].expand(HEADS + 1, HEIGHT, WIDTH))
    torch.testing.assert_close(likeness(maps, TO_RING), halves()[0, 1].expand(HEADS + 1, HEIGHT, WIDTH))


def test_without_a_box_its_maps_are_nothing() -> None:
    maps = maps_of(prompts([(4.0, 4.0, 1.0)]))

    assert not maps[INSIDE].any()
    assert not maps[SIDES].any()
    assert not likeness(maps, TO_MIDDLE).any()
    assert not likeness(maps, TO_RING).any()


def test_a_point_outside_the_image_is_like_the_nearest_cell() -> None:
    beyond, corner = maps_of(prompts([(1000.0, 1000.0, 1.0)])), maps_of(prompts([(63.0, 47.0, 1.0)]))

    torch.testing.assert_close(likeness(beyond, TO_POSITIVE), likeness(corner, TO_POSITIVE))


def test_prompts_of_two_images_do_not_mix() -> None:
    left, right = prompts([(4.0, 4.0, 1.0)]), prompts([(60.0, 40.0, -1.0)], box=(8.0, 8.0, 40.0, 40.0))
    mirrored = halves().flip(3)
    batch = Prompts(*(torch.cat(parts) for parts in zip(left, right, strict=True)))

    both = prompt_maps(batch, torch.cat([halves(), mirrored]).repeat(1, HEADS, 1, 1), torch.cat([halves(), mirrored]))

    torch.testing.assert_close(both[0, 0], maps_of(left))
    torch.testing.assert_close(both[1, 0], prompt_maps(right, mirrored.repeat(1, HEADS, 1, 1), mirrored)[0, 0])


def test_what_a_lone_point_says_is_all_that_its_maps_hold() -> None:
    point, grouping = prompts([(20.0, 13.0, 1.0)]), halves().repeat(1, HEADS, 1, 1)
    maps = prompt_maps(point, grouping, halves())

    lone = lone_maps(point, grouping, halves())

    torch.testing.assert_close(lone, maps[:, :, LONE])
    assert not maps[:, :, [channel for channel in range(CHANNELS) if channel not in LONE]].any()
