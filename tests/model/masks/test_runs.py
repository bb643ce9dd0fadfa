"""Runs of a label map, found by torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from benchmarks.kernel import kernel_disabled
from lexiseg_model.masks.rle import encode_label_map, encode_label_runs
from lexiseg_model.masks.upsample import runs_of
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.tasks import segment
from lexiseg_model.types import ClassEntry, Vocabulary
from tests.kernel import both_ways


@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4)), st.integers(0, 5)
)
def test_runs_of_any_map(labels: NDArray[np.uint8], n_classes: int) -> None:
    compiled, plain = both_ways(lambda: encode_label_runs(runs_of(torch.from_numpy(labels)), n_classes))

    assert compiled == encode_label_map(labels, n_classes)
    assert plain == compiled


def test_an_answer_is_the_same_by_runs(tiny: TinySegmenter) -> None:
    """Torch finds them, as on a GPU."""
    rgb = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    features = tiny.encode(rgb)
    vocabulary = Vocabulary((ClassEntry("sky"), ClassEntry("grass"), ClassEntry("stone")))
    expected = segment("semantic", tiny, features, vocabulary)

    with kernel_disabled():
        found = segment("semantic", tiny, features, vocabulary)

    assert [segment.mask for segment in found.segments] == [segment.mask for segment in expected.segments]
    assert [segment.score for segment in found.segments] == pytest.approx(
        [segment.score for segment in expected.segments], abs=1e-6
    )
