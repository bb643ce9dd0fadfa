"""Connected parts by tensor operations."""

import cv2
import numpy as np
import pytest
import torch

from lexiseg_model.masks.parts import part_numbers, parts_around


def spiral(side: int) -> torch.Tensor:
    """A path of one cell's width to the middle of a square."""
    region = np.zeros((side, side), bool)
    for ring in range(0, side // 2, 2):
        region[ring, max(0, ring - 2) : side - ring] = True
        region[ring : side - ring, side - 1 - ring] = True
        region[side - 1 - ring, ring : side - ring] = True
        region[ring + 2 : side - ring, ring] = True
    return torch.from_numpy(region)


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_those_of_opencv(seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal((40, 57))
    region = cv2.GaussianBlur(noise, (0, 0), 2) > 0
    n_parts, expected = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)

    numbers = part_numbers(torch.from_numpy(region)).numpy()

    assert (numbers[~region] == -1).all()
    pairs = np.unique(np.stack([expected[region], numbers[region]]), axis=1)
    assert pairs.shape[1] == n_parts - 1  # each part has one number, and each number one part


def test_a_diagonal_and_a_spiral_are_one_part() -> None:
    steps = torch.eye(60, dtype=torch.bool) | torch.eye(60, dtype=torch.bool).roll(1, 1).triu()

    assert len(set(part_numbers(steps)[steps].tolist())) == 1
    assert len(set(part_numbers(spiral(31))[spiral(31)].tolist())) == 1


def test_the_parts_around_cells_are_those_that_hold_one() -> None:
    region = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], dtype=torch.bool)
    cells = torch.zeros_like(region)
    cells[1, 2:] = True

    assert parts_around(region, cells).int().tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert not parts_around(region, torch.zeros_like(region)).any()
