"""From scores and masks at low resolution to labels and runs at the size of the image."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.rle import encode_mask, encode_spans
from lexiseg_model.masks.upsample import axis, cut, winners

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

    probability = winners(scores, (50, 61), keep_probability=True).probability

    normaliser = interpolated(scores.logsumexp(0, keepdim=True), (50, 61))[0]
    expected = (interpolated(scores, (50, 61)).amax(0) - normaliser).exp()
    assert probability is not None
    np.testing.assert_allclose(probability, expected.numpy(), atol=1e-5)


def test_a_class_that_no_corner_prefers_can_win_between_them() -> None:
    # Rows 0 and 1 each own two opposite corners by far; row 2 is second everywhere and first in the middle.
    scores = torch.tensor([[[9.0, -9], [-9, 9]], [[-9, 9], [9, -9]], [[5, 5], [5, 5]]])

    labels = winners(scores, (64, 64)).labels

    assert labels[32, 32] == 2
    assert set(np.unique(labels)) == {0, 1, 2}


CUT_TIE = 1e-4  # two ways to interpolate differ by rounding; a logit as close to 0 may lie on either side
CUTS = [
    ((1, 1), (7, 5)),
    ((1, 9), (33, 20)),
    ((16, 24), (64, 96)),
    ((13, 17), (300, 451)),
    ((30, 40), (30, 40)),
    ((40, 52), (17, 23)),  # a smaller image than the mask
    ((72, 96), (1201, 1603)),
]
# Next to 0 on either side, so that rounding decides, and far from it.
LOGITS = st.sampled_from([-1.0, -1e-9, -0.0, 0.0, 1e-9, 1.0]) | st.floats(-8, 8, width=32)


def spots(cells: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """A few blobs, below 0 elsewhere."""
    rng = np.random.default_rng(seed)
    logits = np.full(cells, -3, np.float32)
    top, left = rng.integers(0, cells[0]), rng.integers(0, cells[1])
    logits[top : top + cells[0] // 3 + 1, left : left + cells[1] // 3 + 1] = 4
    return (logits + rng.normal(0, 2, cells)).astype(np.float32)


def mask_of(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    columns = np.zeros(size[0] * size[1], np.bool_)
    for start, end in cut(logits, size):
        columns[start:end] = True
    return columns.reshape(size[1], size[0]).T


def plain(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Every pixel by itself, rounded as in a cut."""
    y, x = axis(logits.shape[0], size[0]), axis(logits.shape[1], size[1])
    padded = np.pad(logits, ((0, 1), (0, 1)), mode="edge")
    columns = padded[:, x.low] + x.weight * (padded[:, x.low + 1] - padded[:, x.low])
    return columns[y.low] + y.weight[:, None] * (columns[y.low + 1] - columns[y.low]) >= 0


@pytest.mark.parametrize(("cells", "size"), CUTS)
@pytest.mark.parametrize("seed", range(2))
def test_it_is_the_interpolated_mask_where_that_is_not_below_zero(
    cells: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    logits = spots(cells, seed)

    mask = mask_of(logits, size)

    expected = interpolated(torch.from_numpy(logits)[None], size)[0].numpy()
    clear = np.abs(expected) > CUT_TIE
    np.testing.assert_array_equal(mask[clear], expected[clear] >= 0)


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=LOGITS),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(max_examples=200, deadline=None)
def test_masks_and_images_of_any_size_have_the_bytes_of_the_plain_way(
    logits: NDArray[np.float32], size: tuple[int, int]
) -> None:
    assert encode_spans(cut(logits, size), size) == encode_mask(plain(logits, size))
