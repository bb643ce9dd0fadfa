"""Windows of feature maps: placement, cutting and pasting."""

from __future__ import annotations

import numpy as np
import torch

from lexiseg_model.methods.tiny.proposals.windows import (
    EVEN,
    FINER,
    Windows,
    around,
    back,
    on_inner_edges,
)

CELLS = 36, 56
SIZE = 20, 28


def test_windows_lie_around_their_points_and_within_the_image() -> None:
    points = torch.tensor([[0.0, 0.0], [8.0 * 28, 8.0 * 18], [8.0 * 56 - 1, 8.0 * 36 - 1]])

    windows = around(points, CELLS)

    assert windows.size == SIZE
    assert windows.corners.tolist() == [[0, 0], [8, 14], [16, 28]]
    everywhere = around(torch.rand(50, 2) * torch.tensor([8.0 * 56, 8.0 * 36]), CELLS).corners
    assert not (everywhere % EVEN).any()
    assert (everywhere >= 0).all()
    assert (everywhere + SIZE <= CELLS).all()


WHERE = Windows(np.array([[0, 0], [6, 10], [16, 28]]), SIZE)


def test_only_inner_edges_of_a_window_count() -> None:
    logits = np.full((3, 2, FINER * SIZE[0], FINER * SIZE[1]), -1, np.float32)
    logits[:, 1] = 1
    logits[:, 0, 5, 0] = 1  # on the left alone

    touching = on_inner_edges(logits, WHERE, CELLS)

    down, across = FINER * SIZE[0], FINER * SIZE[1]
    assert touching.tolist() == [[0, across + down], [1, 2 * (across + down)], [1, across + down]]


def test_masks_of_windows_are_placed_on_an_empty_image() -> None:
    masks = np.random.default_rng(0).random((3, FINER * SIZE[0], FINER * SIZE[1]), np.float32)

    whole = back(masks, WHERE, CELLS, -7)

    assert whole.shape == (3, FINER * CELLS[0], FINER * CELLS[1])
    assert np.array_equal(whole[1, 12:52, 20:76], masks[1])
    assert (whole == -7).sum(axis=(1, 2)).tolist() == [whole[0].size - masks[0].size] * 3
    assert back(masks > 2, WHERE, CELLS).sum() == 0
