"""Run lengths, read by numpy, against pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from lexiseg_client import UnreadableAnswer
from lexiseg_client.masks import rle
from tests import coco as reference

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)


def encoded(mask: NDArray[np.bool_]) -> str:
    text: bytes = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return text.decode()


@given(arrays(np.bool_, SHAPES))
def test_any_mask_is_read_as_pycocotools_wrote_it(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(rle.decode(encoded(mask), mask.shape), mask)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60))
def test_any_run_lengths_are_read_as_pycocotools_reads_them(runs: list[int]) -> None:
    # Long runs beside short ones: large steps, both ways, in the differences that the text holds.
    height, width = sum(runs) + 1, 1
    packed: dict[str, Any] = coco.frPyObjects({"size": [height, width], "counts": [*runs, 1]}, height, width)
    text = packed["counts"].decode()

    assert np.array_equal(rle.decode(text, (height, width)), reference.decode({**packed, "counts": text}))


@pytest.mark.parametrize("counts", ["", "0", "05", "o", "0d4>^Ki7b4\x7f", "ooooooooo0", "0é4"])
def test_a_damaged_text_is_no_mask(counts: str) -> None:
    with pytest.raises(UnreadableAnswer):
        rle.decode(counts, (4, 4))
