"""The kernel and numpy give the same."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.cards import SpeckRule
from lexiseg_model.masks.parts import CrumbRule, without_crumbs
from lexiseg_model.masks.regions import Regions, split
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.upsample import Winners, winners
from lexiseg_model.methods.tiny.picture import resize_to
from lexiseg_model.tasks.pixels import Pieces, outcome
from lexiseg_model.vocabulary.scoring import without_specks
from tests.kernel import both_ways


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


@pytest.mark.parametrize("row", [0, 1, 3])
def test_a_row_of_nothing_in_places_wins_as_if_it_were_far_down_there(row: int) -> None:
    generator = torch.Generator().manual_seed(row)
    scores = torch.randn(4, 6, 7, generator=generator)
    nothing = torch.rand(6, 7, generator=generator) < 0.4

    scores[row][nothing] = -torch.inf

    assert_equal(scores, (50, 60))

    far_down = scores.clamp_min(-1e6)
    np.testing.assert_array_equal(winners(scores, (50, 60)).labels, winners(far_down, (50, 60)).labels)


def smooth(n_rows: int) -> Tensor:
    coarse = torch.randn(1, n_rows, 5, 7, generator=torch.Generator().manual_seed(n_rows)) * 4
    return F.interpolate(coarse, size=(45, 61), mode="bicubic")[0]


def assert_as_step_by_step(logits: Tensor, size: tuple[int, int], n_classes: int) -> Pieces:
    made = outcome(logits, size, n_classes, keep_probability=True)

    won = winners(logits, size, keep_probability=True)
    assert won.probability is not None
    assert made.probability is not None
    np.testing.assert_array_equal(made.labels, won.labels)
    np.testing.assert_array_equal(made.votes, won.votes)
    np.testing.assert_array_equal(made.probability, won.probability)
    assert made.rles == encode_label_map(won.labels, n_classes)
    return made


@pytest.mark.parametrize("n_rows", [1, 2, 21, 300])
@pytest.mark.parametrize("size", [(131, 200), (45, 61), (17, 23)])
def test_smooth_scores(n_rows: int, size: tuple[int, int]) -> None:
    assert_as_step_by_step(smooth(n_rows), size, max(1, n_rows - 1))


@given(
    arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.integers(0, 3).map(float)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.booleans(),
)
def test_any_scores(logits: NDArray[np.float32], size: tuple[int, int], has_background: bool) -> None:
    assert_as_step_by_step(torch.from_numpy(logits), size, len(logits) - has_background)


@pytest.mark.parametrize("n_rows", [2, 21])
@pytest.mark.parametrize("size", [(131, 200), (45, 61), (17, 23)])
def test_votes_of_classes_are_the_same_where_the_background_is_not_counted(n_rows: int, size: tuple[int, int]) -> None:
    logits = smooth(n_rows)
    logits[-1] += 8.0

    some, every = (outcome(logits, size, n_rows - 1, keep_probability=asked) for asked in (False, True))

    assert (every.labels == n_rows - 1).mean() > 0.1
    np.testing.assert_array_equal(some.labels, every.labels)
    np.testing.assert_array_equal(some.votes[:-1], every.votes[:-1])
    assert some.rles == every.rles


def assert_same_regions(
    labels: NDArray[np.unsignedinteger], classes: list[int], smallest: int, whole: set[int]
) -> Regions:
    compiled, plain = both_ways(lambda: split(labels, classes, smallest, whole))

    np.testing.assert_array_equal(compiled.labels, plain.labels)
    np.testing.assert_array_equal(compiled.owner, plain.owner)
    assert compiled.labels.dtype == plain.labels.dtype
    assert compiled.owner.dtype == plain.owner.dtype
    return plain


@given(
    arrays(
        st.sampled_from([np.uint8, np.uint16]),
        array_shapes(min_dims=2, max_dims=2, max_side=30),
        elements=st.integers(0, 3),
    ),
    st.permutations([0, 1, 2, 5]),
    st.integers(1, 4),
    st.sets(st.integers(0, 3)),
)
def test_any_map(labels: NDArray[np.unsignedinteger], classes: list[int], smallest: int, whole: set[int]) -> None:
    assert_same_regions(labels, classes, smallest, whole)


def test_more_regions_than_there_are_numbers_for() -> None:
    labels = (np.indices((400, 400)).sum(0) % 2).astype(np.uint8)  # every pixel for itself

    assert len(assert_same_regions(labels, [1, 0], 1, set()).owner) == 65_534


CRUMB_SHARES = st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0])


@given(
    arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=12), elements=st.integers(-1, 1).map(float)),
    st.builds(CrumbRule, island=CRUMB_SHARES, hole=CRUMB_SHARES),
)
def test_any_masks(masks: NDArray[np.float32], rule: CrumbRule) -> None:
    compiled, plain = both_ways(lambda: without_crumbs(torch.from_numpy(masks.copy()), rule))

    assert torch.equal(compiled, plain)


@given(
    arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.integers(-2, 2).map(float)),
    st.builds(
        SpeckRule, island=CRUMB_SHARES, most=CRUMB_SHARES, hole=CRUMB_SHARES, border=st.sampled_from([0.6, 0.8, 1.0])
    ),
    st.booleans(),
)
def test_any_scores_without_specks(values: NDArray[np.float32], rule: SpeckRule, has_background: bool) -> None:
    n_classes = max(1, len(values) - has_background)

    compiled, plain = both_ways(lambda: without_specks(torch.from_numpy(values), n_classes, rule))

    assert torch.equal(compiled, plain)


@pytest.mark.parametrize(
    "size", [(480, 640), (576, 768), (750, 1000), (864, 768), (1728, 2304), (289, 385), (288, 1500), (300, 200)]
)
def test_pictures_are_resized_as_opencv_does(size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)

    compiled, plain = both_ways(lambda: resize_to(rgb, (288, 384)))

    assert np.array_equal(compiled, plain)
