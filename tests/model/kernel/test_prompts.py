"""What the compiled prompt head is handed; what it makes of it: tests/model/methods/tiny/test_compiled_head.py."""

from __future__ import annotations

import numpy as np
import pytest

from lexiseg_model.kernel.prompts import COARSE, FINE, MID, MOST, PIXELS, Shared, Weights, answer, fit, lengths

SHARED = Shared(
    *(np.zeros(shape, np.float32) for shape in ((2, 4, COARSE), (4, 8, MID), (FINE, 8, 16), (4, 8, PIXELS)))
)
NOWHERE = np.zeros((1, 2), np.int64)


def weights(channels: int, masks: int) -> Weights:
    return Weights(*(np.zeros(length, np.float32) for length in lengths(channels, masks)))


def test_no_prompts_have_no_masks() -> None:
    if not fit():
        pytest.skip("no vectors of eight on this processor")

    logits, quality = answer(np.zeros((0, 9, 4, 8), np.float32), NOWHERE[:0], SHARED, weights(9, MOST), MOST)

    assert logits.shape == (0, MOST, 8, 16)
    assert quality.shape == (0, MOST)


def test_weights_of_another_kind_of_prompts_are_refused() -> None:
    with pytest.raises(AssertionError):
        answer(np.zeros((1, 9, 4, 8), np.float32), NOWHERE, SHARED, weights(33, 1), MOST)
