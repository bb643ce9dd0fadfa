"""Input maps of the prompt head, on maps small enough to compute by hand."""

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
INSIDE = len(NEAR) + len(AWAY)
SIDES = slice(INSIDE + 1, INSIDE + 5)
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


def test_the_map_of_a_point_decays_with_the_distance_in_pixels() -> None:
    centre = MAP_STRIDE / 2

    maps = maps_of(prompts([(centre, centre, 1.0)]))

    assert maps[DISTANCES, 0, 0].tolist() == [1.0] * len(NEAR)
    for scale, trace in zip(NEAR, maps[DISTANCES, 0, 3], strict=True):
        assert trace.item() == pytest.approx(math.exp(-3 * MAP_STRIDE / scale))


def test_distances_to_sides_are_relative_to_the_box() -> None:
    maps = maps_of(prompts(box=(0.0, 0.0, 32.0, 16.0)))

    # The centre of the first cell: 4 pixels from the left of 32, 4 from the top of 16.
    assert maps[SIDES, 0, 0].tolist() == [0.125, 0.875, 0.25, 0.75]


def test_likeness_of_a_box_separates_its_middle_from_its_surroundings() -> None:
    # The box fills the left half; on its right lies the other one.
    maps = maps_of(prompts(box=(0.0, 0.0, 32.0, 48.0)))

    torch.testing.assert_close(likeness(maps, TO_MIDDLE), halves()[0, 0].expand(HEADS + 1, HEIGHT, WIDTH))
    torch.testing.assert_close(likeness(maps, TO_RING), halves()[0, 1].expand(HEADS + 1, HEIGHT, WIDTH))


def test_maps_of_a_lone_point_hold_all_its_channels() -> None:
    point, grouping = prompts([(20.0, 13.0, 1.0)]), halves().repeat(1, HEADS, 1, 1)
    maps = prompt_maps(point, grouping, halves())

    lone = lone_maps(point, grouping, halves())

    torch.testing.assert_close(lone, maps[:, :, LONE])
    assert not maps[:, :, [channel for channel in range(CHANNELS) if channel not in LONE]].any()
