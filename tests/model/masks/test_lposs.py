"""LPOSS against its formulas read independently, with a direct solve."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.errors import ShapeError
from lexiseg_model.masks import lposs
from tests.golden import lposs as golden

GRID = (6, 9)
CLOSE = 2e-4  # of labels in 0..1: conjugate gradients stop at 1e-6 of the residual, or after 50 steps


def units(seed: int, width: int = 5) -> NDArray[np.float64]:
    drawn = np.random.default_rng(seed).normal(0.3, 1, (GRID[0] * GRID[1], width))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def labels(seed: int, n: int) -> NDArray[np.float64]:
    drawn = np.random.default_rng(seed).random((n, 3))
    return np.asarray(drawn / drawn.sum(1, keepdims=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("neighbours", [5, 400])
def test_patches_are_joined_by_likeness_and_distance(seed: int, neighbours: int) -> None:
    ours = lposs.patch_weights(units(seed), GRID, 16.0, neighbours)

    expected = golden.patch_weights(units(seed), GRID, 16.0, neighbours)
    np.testing.assert_allclose(ours.toarray(), expected, atol=1e-12)


@pytest.mark.parametrize("reach", [1, 2, 6])
def test_pixels_are_joined_by_colours(reach: int) -> None:
    lab = np.random.default_rng(reach).random((5, 7, 3)).astype(np.float32) * 0.05

    ours = lposs.pixel_weights(lab, reach)

    np.testing.assert_allclose(ours.toarray(), golden.pixel_weights(lab, reach), atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_labels_spread_as_the_direct_solve_says(seed: int) -> None:
    weights = golden.patch_weights(units(seed), GRID, 16.0)
    given = labels(seed, len(weights))

    ours = lposs.propagate(lposs.patch_weights(units(seed), GRID, 16.0), given)

    spread, ones = golden.solve(weights, given), golden.solve(weights, np.ones((len(weights), 1)))
    np.testing.assert_allclose(ours, spread / ones, atol=CLOSE)
    np.testing.assert_array_equal(ours.argmax(1), spread.argmax(1))


def test_both_steps_follow_each_other() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
    given = labels(3, GRID[0] * GRID[1])
    maps = torch.from_numpy(given.T.reshape(3, *GRID)).float()
    patches = torch.from_numpy(units(4).T.reshape(-1, *GRID)).float()

    ours = lposs.refine(maps, patches, torch.from_numpy(rgb).permute(2, 0, 1))

    weights = golden.patch_weights(patches.flatten(1).T.double().numpy(), GRID, 448 / GRID[0])
    spread = golden.solve(weights, given) / golden.solve(weights, np.ones((len(weights), 1)))
    fine = torch.nn.functional.interpolate(torch.from_numpy(spread.T.reshape(1, 3, *GRID)), (12, 18), mode="bilinear")
    colours = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab = (colours / np.array([100, 128, 128])).astype(np.float32)
    joined = golden.pixel_weights(lab, 1)
    flat = fine[0].flatten(1).T.numpy()
    expected = golden.solve(joined, flat) / golden.solve(joined, np.ones((len(joined), 1)))
    np.testing.assert_allclose(ours.flatten(1).T.numpy(), expected, atol=CLOSE)


def test_an_edge_of_colours_stops_labels() -> None:
    rgb = torch.zeros(3, 40, 40, dtype=torch.uint8)
    rgb[:, :, 23:] = 200  # the labels change at 20
    maps = torch.full((2, 40, 40), 0.3)
    maps[0, :, :20] = maps[1, :, 20:] = 0.7

    refined = lposs.refine(maps, None, rgb)

    assert (refined.argmax(0)[:, 23:] == 1).all()
    assert refined[0, :, 21].mean() > maps[0, :, 21].mean()


def test_arguments_of_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected \[K, h, w\] and \[3, H, W\]"):
        lposs.refine(torch.zeros(2, 3), None, torch.zeros(3, 4, 4, dtype=torch.uint8))
