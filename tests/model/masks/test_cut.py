"""A cut mask against the plain way: interpolate everything, then compare with 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.masks import bilinear
from model.masks.cut import Part, cut

TIE = 1e-4  # two ways to interpolate differ by rounding; a logit as close to 0 may lie on either side

CASES = [
    ((1, 1), (7, 5)),
    ((1, 9), (33, 20)),
    ((16, 24), (64, 96)),
    ((13, 17), (300, 451)),
    ((30, 40), (30, 40)),
    ((40, 52), (17, 23)),  # a smaller image than the mask
]


def spots(cells: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """A few blobs, below 0 elsewhere."""
    rng = np.random.default_rng(seed)
    logits = np.full(cells, -3, np.float32)
    top, left = rng.integers(0, cells[0]), rng.integers(0, cells[1])
    logits[top : top + cells[0] // 3 + 1, left : left + cells[1] // 3 + 1] = 4
    return (logits + rng.normal(0, 2, cells)).astype(np.float32)


def whole(part: Part, size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.bool_)
    (x, y), (height, width) = part.offset, part.mask.shape
    mask[y : y + height, x : x + width] = part.mask
    return mask


def plain(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float64]:
    scores = torch.from_numpy(logits)[None, None].double()
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()


@pytest.mark.parametrize(("cells", "size"), CASES)
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_interpolated_mask_where_that_is_not_below_zero(
    cells: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    logits = spots(cells, seed)

    mask = whole(cut(logits, size), size)

    expected = plain(logits, size)
    clear = np.abs(expected) > TIE
    np.testing.assert_array_equal(mask[clear], expected[clear] >= 0)


def test_only_the_surroundings_of_what_reaches_zero_are_computed() -> None:
    logits = np.full((10, 10), -1, np.float32)
    logits[4, 6] = 1

    part = cut(logits, (100, 100))

    assert part.mask.shape == (20, 20)
    assert part.offset == (55, 35)


def test_a_mask_that_reaches_zero_nowhere_is_empty() -> None:
    assert cut(np.full((4, 4), -1, np.float32), (40, 40)).mask.size == 0


def test_what_lies_between_the_pixels_of_a_smaller_image_is_lost() -> None:
    logits = np.full((9, 9), -1, np.float32)
    logits[0, 0] = 1

    assert not cut(logits, (2, 2)).mask.any()


def test_a_pixel_of_exactly_zero_belongs_to_the_mask() -> None:
    assert cut(np.zeros((1, 1), np.float32), (2, 2)).mask.all()


def test_the_size_of_the_bands_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = spots((16, 24), 0)
    at_once = cut(logits, (64, 96))

    monkeypatch.setattr(bilinear, "BAND_PIXELS", 200)

    np.testing.assert_array_equal(cut(logits, (64, 96)).mask, at_once.mask)
