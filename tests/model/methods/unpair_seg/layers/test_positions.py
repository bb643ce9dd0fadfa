from __future__ import annotations

import math

import torch

from lexiseg_model.methods.unpair_seg.layers.prompts import FourierPositions, cell_centres


def test_cells_are_counted_row_by_row_and_named_by_x_and_y() -> None:
    centres = cell_centres(2, 4)

    assert centres[1].tolist() == [0.375, 0.25]
    assert centres[4].tolist() == [0.125, 0.75]


def test_the_middle_of_the_image_has_angle_zero() -> None:
    vector = FourierPositions(8)(torch.tensor([0.5, 0.5]))

    assert vector.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_place_is_its_angles_sines_and_cosines() -> None:
    positions = FourierPositions(4)
    positions.matrix.copy_(torch.tensor([[0.25, 0.0], [0.0, 0.5]]))

    vector = positions(torch.tensor([1.0, 0.0]))  # right top: angles of a quarter and minus half a turn

    torch.testing.assert_close(vector, torch.tensor([1.0, 0.0, 0.0, -1.0]), atol=1e-6, rtol=0)


def test_a_grid_holds_the_vectors_of_its_cells() -> None:
    positions = FourierPositions(16)

    torch.testing.assert_close(positions.grid(3, 5), positions(cell_centres(3, 5)))


def test_the_matrix_is_kept_with_the_weights_and_not_trained() -> None:
    positions = FourierPositions(16)

    assert set(positions.state_dict()) == {"matrix"}
    assert not list(positions.parameters())
    assert math.isclose(float(FourierPositions(4096).matrix.std()), 1, abs_tol=0.1)
