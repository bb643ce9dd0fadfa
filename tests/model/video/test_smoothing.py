from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.video.motion import Motion
from lexiseg_model.video.smoothing import ScoreSmoother

SIZE = (8, 12)


def motion(x: float = 0.0, trust: float = 1.0, size: tuple[int, int] = SIZE) -> Motion:
    """Everything was `x` pixels further right."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return Motion(np.stack([columns + np.float32(x), rows], 2), np.full(size, trust, np.float32), False)


def flat(*values: float) -> Tensor:
    """One row of scores for each value, the same everywhere."""
    return torch.tensor(values).view(-1, 1, 1).expand(len(values), *SIZE).contiguous()


def test_the_past_counts_by_its_weight() -> None:
    smoother = ScoreSmoother(0.75)
    smoother.steady(flat(0.0, 4.0), None)

    average = smoother.steady(flat(4.0, 0.0), motion())

    assert torch.allclose(average, flat(1.0, 3.0))


def test_where_the_motion_is_doubtful_the_frame_speaks_for_itself() -> None:
    smoother = ScoreSmoother(0.9)
    smoother.steady(flat(8.0), None)

    assert torch.allclose(smoother.steady(flat(1.0), motion(trust=0.0)), flat(1.0))


def test_the_past_moves_with_the_picture() -> None:
    smoother = ScoreSmoother(0.95)
    edge = torch.zeros(1, *SIZE)
    edge[:, :, 6:] = 1.0
    smoother.steady(edge, None)
    moved = torch.zeros(1, *SIZE)
    moved[:, :, 4:] = 1.0  # what is here was two pixels further right

    average = smoother.steady(moved, motion(x=2.0))

    assert torch.allclose(average, moved, atol=1e-5)


@pytest.mark.parametrize("weight", [-0.1, 0.96, float("nan")])
def test_a_weight_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(OptionError, match=r"0 to 0\.95"):
        ScoreSmoother(weight)
