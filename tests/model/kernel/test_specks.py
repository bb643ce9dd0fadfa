"""Specks by the kernel and by torch and numpy: the same logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks import specks
from lexiseg_model.masks.specks import SpeckRule, without_specks
from tests.kernel import both_ways

SHARES = st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0])


@given(
    arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=12), elements=st.integers(0, 3).map(float)),
    st.booleans(),
    st.builds(SpeckRule, area=SHARES, part=SHARES, least=SHARES),
)
def test_any_logits(logits: NDArray[np.float32], has_nobody: bool, rule: SpeckRule) -> None:
    n_classes = len(logits) - has_nobody

    compiled, plain = both_ways(lambda: without_specks(torch.from_numpy(logits.copy()), n_classes, rule))

    assert torch.equal(compiled, plain)


def test_too_many_regions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specks, "MAX_REGIONS", 3)
    logits = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(0))

    compiled, plain = both_ways(lambda: without_specks(logits.clone(), 4, SpeckRule()))

    assert torch.equal(compiled, logits)
    assert torch.equal(plain, logits)
