"""Crumbs by the kernel and by OpenCV: the same logits."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks.crumbs import CrumbRule, without_crumbs
from tests.kernel import both_ways

SHARES = st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0])


@given(
    arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=12), elements=st.integers(-1, 1).map(float)),
    st.builds(CrumbRule, island=SHARES, hole=SHARES),
)
def test_any_masks(masks: NDArray[np.float32], rule: CrumbRule) -> None:
    compiled, plain = both_ways(lambda: without_crumbs(torch.from_numpy(masks.copy()), rule))

    assert torch.equal(compiled, plain)
