"""From rows to class vectors."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.clip.text_side import mean_of_rows, mean_of_units
from lexiseg_model.errors import ShapeError

# Two texts with two templates each; the second row of the first text is three times as long as the first.
ROWS = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0], [2.0, 0.0]])


def test_unit_rows_count_alike() -> None:
    half = 0.5**0.5

    torch.testing.assert_close(mean_of_units(ROWS, 2), torch.tensor([[half, half], [1.0, 0.0]]))


def test_raw_rows_count_by_their_length() -> None:
    torch.testing.assert_close(mean_of_rows(ROWS, 2), torch.tensor([[0.1**0.5, 0.9**0.5], [1.0, 0.0]]))


def test_rows_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[T \* 3, D\], got \[4, 2\]"):
        mean_of_units(ROWS, 3)
