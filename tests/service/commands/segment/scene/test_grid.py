from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.commands.segment.scene.grid import BLOCK, Grid


@given(st.integers(1, 700), st.integers(1, 700), st.integers(64, 300), st.integers(0, 200))
def test_cores_cover_the_picture_once_and_lie_inside_their_windows(
    height: int, width: int, window: int, overlap: int
) -> None:
    grid = Grid((height, width), window, min(overlap, window - BLOCK))
    seen = np.zeros((height, width), np.uint8)

    for cell in grid.cells():
        core, around = cell.core, cell.window
        seen[core.top : core.bottom, core.left : core.right] += 1
        assert around.top <= core.top < core.bottom <= around.bottom
        assert around.left <= core.left < core.right <= around.right
        assert around.size == (min(window, height), min(window, width))
        assert core.top % grid.stride == core.left % grid.stride == 0

    assert (seen == 1).all()


@pytest.mark.parametrize(("window", "overlap", "stride"), [(1024, 128, 896), (1000, 100, 896), (64, 64, 16)])
def test_a_core_is_a_tile_of_the_map(window: int, overlap: int, stride: int) -> None:
    assert Grid((5000, 5000), window, overlap).stride == stride
