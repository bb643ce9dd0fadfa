"""The label map by torch, as it is made on a GPU, against the one that is made on a CPU."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.kernel import kernel_disabled
from lexiseg_model.masks import upsample
from lexiseg_model.masks.rle import encode_label_map, encode_label_runs
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.tasks import outcome, segment
from lexiseg_model.types import ClassEntry, Vocabulary
from tests.kernel import both_ways


@pytest.fixture
def scores() -> Tensor:
    """Smooth logits [7, 12, 17], the last two equal everywhere."""
    coarse = torch.randn(1, 7, 4, 5, generator=torch.Generator().manual_seed(0))
    scores = 4 * torch.nn.functional.interpolate(coarse, (12, 17), mode="bilinear")[0]
    scores[6] = scores[5]
    return scores


@pytest.mark.parametrize("size", [(12, 17), (101, 67), (480, 640), (5, 9), (1, 1)])
@pytest.mark.parametrize("keep_probability", [True, False])
def test_labels_are_equal_and_votes_alike(scores: Tensor, size: tuple[int, int], keep_probability: bool) -> None:
    expected = upsample.winners(scores, size, keep_probability)

    labels, votes, probability, runs = upsample.device_winners(scores, size, keep_probability)

    assert runs is not None
    assert encode_label_runs(runs, len(scores)) == encode_label_map(labels, len(scores))
    assert labels.dtype == expected.labels.dtype
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_allclose(votes, expected.votes, rtol=1e-5, atol=1e-6)
    assert (probability is None) == (not keep_probability)
    if expected.probability is not None and probability is not None:
        np.testing.assert_allclose(probability, expected.probability, atol=1e-6)


@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4)), st.integers(0, 5)
)
def test_runs_of_any_map(labels: NDArray[np.uint8], n_classes: int) -> None:
    compiled, plain = both_ways(lambda: encode_label_runs(upsample.runs_of(torch.from_numpy(labels)), n_classes))

    assert compiled == encode_label_map(labels, n_classes)
    assert plain == compiled


def test_an_answer_is_the_same_by_runs(tiny: TinySegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the scores lay on a GPU."""
    rgb = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    features = tiny.encode(rgb)
    vocabulary = Vocabulary((ClassEntry("sky"), ClassEntry("grass"), ClassEntry("stone")))
    expected = segment("semantic", tiny, features, vocabulary)
    monkeypatch.setattr(outcome, "winners", upsample.device_winners)

    with kernel_disabled():
        found = segment("semantic", tiny, features, vocabulary)

    assert [segment.mask for segment in found.segments] == [segment.mask for segment in expected.segments]
    assert [segment.score for segment in found.segments] == pytest.approx(
        [segment.score for segment in expected.segments], abs=1e-6
    )
