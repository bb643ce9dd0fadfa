"""Winners per pixel against the plain way: interpolate everything, then arg-max."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.masks import upsample
from model.masks.upsample import winners

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
def test_a_probability_lies_between_nothing_and_one(
    n_rows: int, cells: tuple[int, int], size: tuple[int, int]
) -> None:
    scores = random_scores(n_rows, cells)

    probability = winners(scores, size).probability

    assert probability.dtype == np.float32
    assert probability.min() >= 0
    assert probability.max() <= 1


def test_at_the_scores_own_size_the_probability_is_the_softmax_of_the_winner() -> None:
    scores = random_scores(9, (14, 11))

    probability = winners(scores, (14, 11)).probability

    np.testing.assert_allclose(probability, scores.softmax(0).amax(0).numpy(), rtol=1e-5)


@pytest.mark.parametrize("chunk_bytes", [1, 5_000, 40_000])
def test_the_size_of_the_chunks_changes_nothing(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = random_scores(6, (12, 15))
    whole = winners(scores, (101, 77))
    monkeypatch.setattr(upsample, "CHUNK_BYTES", chunk_bytes)

    pieces = winners(scores, (101, 77))

    np.testing.assert_array_equal(pieces.labels, whole.labels)
    np.testing.assert_array_equal(pieces.probability, whole.probability)


@pytest.mark.parametrize(("n_rows", "dtype"), [(1, np.uint8), (256, np.uint8), (257, np.uint16), (300, np.uint16)])
def test_the_map_is_as_narrow_as_its_rows_allow(n_rows: int, dtype: type[np.unsignedinteger]) -> None:
    scores = torch.zeros(n_rows, 2, 2)
    scores[-1] = 1

    labels = winners(scores, (5, 6)).labels

    assert labels.dtype == dtype
    assert (labels == n_rows - 1).all()


def test_of_equal_rows_the_first_wins() -> None:
    assert (winners(torch.ones(5, 3, 4), (20, 30)).labels == 0).all()


def test_very_large_scores_do_not_overflow() -> None:
    scores = random_scores(4, (5, 5)) * 1e4

    probability = winners(scores, (40, 40)).probability

    assert np.isfinite(probability).all()
