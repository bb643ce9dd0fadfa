"""Networks that are built to be filled with weights at once."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.catalogue.weights import Undrawn


@pytest.mark.parametrize("limit", [2.0, 0.001])
def test_undrawn_weights_are_within_the_limits_that_a_draw_would_be_repeated_for(limit: float) -> None:
    tensor = torch.full((8,), 1e9)

    with Undrawn():
        torch.nn.init.trunc_normal_(tensor, a=-limit, b=limit)

    assert tensor.abs().max() <= limit
