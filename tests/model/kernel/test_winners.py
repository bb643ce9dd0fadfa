"""Winners compiled and by numpy: the same labels, everywhere; votes and probabilities but for the last digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.upsample import winners
from lexiseg_model.masks.winners import Winners
from tests.kernel import both_ways

CASES = [
    (1, (1, 1), (7, 5)),
    (2, (1, 9), (33, 20)),
    (3, (9, 1), (20, 33)),
    (21, (18, 24), (143, 191)),
    (4, (30, 40), (30, 40)),
    (6, (40, 52), (17, 23)),  # a smaller answer than the scores: cells without pixels
    (256, (8, 8), (37, 41)),
    (257, (8, 19), (37, 41)),
    (2000, (6, 7), (29, 31)),
]


def assert_equal(scores: Tensor, size: tuple[int, int]) -> None:
    compiled, plain = both_ways(lambda: winners(scores, size, keep_probability=True))

    np.testing.assert_array_equal(compiled.labels, plain.labels)
    assert compiled.labels.dtype == plain.labels.dtype
    np.testing.assert_allclose(compiled.votes, plain.votes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(probability(compiled), probability(plain), rtol=1e-5, atol=1e-37)


def probability(answer: Winners) -> NDArray[np.float32]:
    assert answer.probability is not None
    return answer.probability


@given(
    arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.floats(-30, 30, width=16)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
@settings(max_examples=300)
def test_any_scores_at_any_size(values: NDArray[np.float32], size: tuple[int, int]) -> None:
    assert_equal(torch.from_numpy(values), size)


def test_a_view_of_scores_is_read_as_what_it_shows() -> None:
    scores = torch.randn(9, 7, 5, generator=torch.Generator().manual_seed(1)).permute(1, 2, 0)

    assert_equal(scores, (40, 41))


@pytest.mark.parametrize("row", [0, 1, 3])
def test_a_row_of_nothing_in_places_wins_as_if_it_were_far_down_there(row: int) -> None:
    generator = torch.Generator().manual_seed(row)
    scores = torch.randn(4, 6, 7, generator=generator)
    nothing = torch.rand(6, 7, generator=generator) < 0.4

    scores[row][nothing] = -torch.inf

    assert_equal(scores, (50, 60))

    far_down = scores.clamp_min(-1e6)
    np.testing.assert_array_equal(winners(scores, (50, 60)).labels, winners(far_down, (50, 60)).labels)
