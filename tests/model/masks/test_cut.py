"""A cut mask against the plain way: interpolate everything, then compare with 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks.bilinear import axis
from lexiseg_model.masks.cut import cut
from lexiseg_model.masks.rle import encode_mask, encode_spans

pytestmark = pytest.mark.usefixtures("each_way")

TIE = 1e-4  # two ways to interpolate differ by rounding; a logit as close to 0 may lie on either side

CASES = [
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


def by_torch(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float64]:
    scores = torch.from_numpy(logits)[None, None].double()
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()


@pytest.mark.parametrize(("cells", "size"), CASES)
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_interpolated_mask_where_that_is_not_below_zero(
    cells: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    logits = spots(cells, seed)

    mask = mask_of(logits, size)

    expected = by_torch(logits, size)
    clear = np.abs(expected) > TIE
    np.testing.assert_array_equal(mask[clear], expected[clear] >= 0)


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=LOGITS),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(max_examples=500, deadline=None)
def test_masks_and_images_of_any_size_have_the_bytes_of_the_plain_way(
    logits: NDArray[np.float32], size: tuple[int, int]
) -> None:
    assert encode_spans(cut(logits, size), size) == encode_mask(plain(logits, size))


def test_a_mask_of_the_whole_image_is_one_run() -> None:
    assert cut(np.ones((4, 4), np.float32), (40, 30)).tolist() == [[0, 1200]]


def test_a_pixel_of_exactly_zero_belongs_to_the_mask() -> None:
    assert cut(np.zeros((1, 1), np.float32), (2, 2)).tolist() == [[0, 4]]
