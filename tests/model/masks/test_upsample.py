"""Winners per pixel against the plain way: interpolate everything, then arg-max."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.upsample import winners

pytestmark = pytest.mark.usefixtures("each_way")

TIE = 1e-5  # two ways to interpolate differ by rounding; closer scores may be won by either

CASES = [
    (1, (1, 1), (7, 5)),
    (2, (1, 1), (1, 1)),
    (2, (1, 9), (33, 20)),
    (3, (9, 1), (20, 33)),
    (5, (16, 24), (64, 96)),
    (21, (18, 24), (143, 191)),
    (7, (13, 17), (300, 451)),
    (4, (30, 40), (30, 40)),
    (6, (40, 52), (17, 23)),  # a smaller answer than the scores
    (256, (8, 8), (37, 41)),
    (257, (8, 8), (37, 41)),
    (2000, (6, 7), (29, 31)),
]


def random_scores(n_rows: int, cells: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(n_rows * 1000 + cells[0] * 31 + cells[1])
    return torch.randn(n_rows, *cells, generator=generator) * 5


def interpolated(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(scores[None].double(), size=size, mode="bilinear", align_corners=False)[0]


def probabilities(scores: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    probability = winners(scores, size, keep_probability=True).probability
    assert probability is not None
    return probability


@pytest.mark.parametrize(("n_rows", "cells", "size"), CASES)
def test_labels_are_the_arg_max_of_the_interpolated_scores(
    n_rows: int, cells: tuple[int, int], size: tuple[int, int]
) -> None:
    scores = random_scores(n_rows, cells)

    labels = torch.from_numpy(winners(scores, size).labels.astype(np.int64))

    plain = interpolated(scores, size)
    loss = plain.amax(0) - plain.gather(0, labels[None])[0]
    assert loss.max() < TIE


@pytest.mark.parametrize(("n_rows", "cells", "size"), CASES)
def test_votes_are_the_sums_of_the_winners_probabilities(
    n_rows: int, cells: tuple[int, int], size: tuple[int, int]
) -> None:
    answer = winners(random_scores(n_rows, cells), size, keep_probability=True)

    assert answer.probability is not None
    expected = [answer.probability[answer.labels == row].sum(dtype=np.float64) for row in range(n_rows)]
    np.testing.assert_allclose(answer.votes, expected, rtol=1e-5)


def test_a_probability_is_the_winner_against_the_interpolated_normaliser() -> None:
    scores = random_scores(5, (7, 9))

    probability = probabilities(scores, (50, 61))

    normaliser = interpolated(scores.logsumexp(0, keepdim=True), (50, 61))[0]
    expected = (interpolated(scores, (50, 61)).amax(0) - normaliser).exp()
    np.testing.assert_allclose(probability, expected.numpy(), atol=1e-5)


def test_a_class_that_no_corner_prefers_can_win_between_them() -> None:
    # Rows 0 and 1 each own two opposite corners by far; row 2 is second everywhere and first in the middle.
    scores = torch.tensor([[[9.0, -9], [-9, 9]], [[-9, 9], [9, -9]], [[5, 5], [5, 5]]])

    labels = winners(scores, (64, 64)).labels

    assert labels[32, 32] == 2
    assert set(np.unique(labels)) == {0, 1, 2}


@given(
    arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.floats(-30, 30, width=16)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(max_examples=200, deadline=None)
def test_any_scores_at_any_size_give_the_arg_max(values: NDArray[np.float32], size: tuple[int, int]) -> None:
    scores = torch.from_numpy(values)

    labels = torch.from_numpy(winners(scores, size).labels.astype(np.int64))

    plain = interpolated(scores, size)
    assert (plain.amax(0) - plain.gather(0, labels[None])[0]).max() < TIE
