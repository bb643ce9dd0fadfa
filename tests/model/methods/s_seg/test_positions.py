"""Positions as waves: which half says what, and where they begin and end."""

from __future__ import annotations

import math

import pytest
import torch

from lexiseg_model.methods.s_seg.decoder import sine_positions


def test_the_first_half_tells_rows_apart_and_the_second_columns() -> None:
    positions = sine_positions(3, 5, 16, torch.zeros(1))

    assert positions.shape == (16, 3, 5)
    assert (positions[:8] == positions[:8, :, :1]).all()
    assert (positions[8:] == positions[8:, :1, :]).all()
    assert not torch.equal(positions[:8, 0], positions[:8, 1])


def test_the_first_wave_comes_round_once_whatever_the_size() -> None:
    for rows in (4, 9):
        sine, cosine = sine_positions(rows, 1, 8, torch.zeros(1))[:2, :, 0]

        assert sine[-1].item() == pytest.approx(0, abs=1e-5)
        assert cosine[-1].item() == pytest.approx(1)
        assert sine[0].item() == pytest.approx(math.sin(2 * math.pi / rows), abs=1e-5)


def test_they_come_in_the_type_they_are_added_to() -> None:
    assert sine_positions(2, 2, 4, torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16
