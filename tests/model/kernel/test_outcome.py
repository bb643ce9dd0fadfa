"""Labels and run lengths in one call, and by one step after the other: the same answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.specks import NO_SPECKS, SpeckRule, without_specks
from lexiseg_model.masks.upsample import winners
from lexiseg_model.tasks.outcome import Outcome, outcome

RULE = SpeckRule(area=0.05, part=0.2, least=0.01)


def smooth(n_rows: int) -> Tensor:
    coarse = torch.randn(1, n_rows, 5, 7, generator=torch.Generator().manual_seed(n_rows)) * 4
    return F.interpolate(coarse, size=(45, 61), mode="bicubic")[0]


def assert_as_step_by_step(logits: Tensor, size: tuple[int, int], n_classes: int, rule: SpeckRule) -> Outcome:
    made = outcome(logits.clone(), size, n_classes, rule, keep_probability=True)

    won = winners(without_specks(logits.clone(), n_classes, rule), size, keep_probability=True)
    assert won.probability is not None
    assert made.probability is not None
    np.testing.assert_array_equal(made.labels, won.labels)
    np.testing.assert_array_equal(made.votes, won.votes)
    np.testing.assert_array_equal(made.probability, won.probability)
    assert made.rles == encode_label_map(won.labels, n_classes)
    return made


@pytest.mark.parametrize("rule", [RULE, NO_SPECKS])
@pytest.mark.parametrize("n_rows", [1, 2, 21, 300])
@pytest.mark.parametrize("size", [(131, 200), (45, 61), (17, 23)])
def test_smooth_scores(n_rows: int, size: tuple[int, int], rule: SpeckRule) -> None:
    assert_as_step_by_step(smooth(n_rows), size, max(1, n_rows - 1), rule)


@given(
    arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.integers(0, 3).map(float)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.booleans(),
)
def test_any_scores(logits: NDArray[np.float32], size: tuple[int, int], has_nobody: bool) -> None:
    assert_as_step_by_step(torch.from_numpy(logits), size, len(logits) - has_nobody, RULE)


@pytest.mark.parametrize("n_rows", [2, 21])
@pytest.mark.parametrize("size", [(131, 200), (45, 61), (17, 23)])
def test_votes_of_classes_are_the_same_where_nobody_is_not_counted(n_rows: int, size: tuple[int, int]) -> None:
    logits = smooth(n_rows)
    logits[-1] += 8.0

    some, every = (outcome(logits.clone(), size, n_rows - 1, RULE, keep_probability=asked) for asked in (False, True))

    assert (every.labels == n_rows - 1).mean() > 0.1
    np.testing.assert_array_equal(some.labels, every.labels)
    np.testing.assert_array_equal(some.votes[:-1], every.votes[:-1])
    assert some.rles == every.rles
