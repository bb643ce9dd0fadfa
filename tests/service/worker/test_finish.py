"""The finish stage: single-flight of what an image derives, and confidence maps in small parts."""

import tracemalloc

import numpy as np

from lexiseg_service.worker.finish import as_bytes


def test_probabilities_are_rounded_to_bytes_some_rows_at_a_time() -> None:
    probability = np.random.default_rng(0).random((3000, 1001), np.float32)
    expected = np.rint(255 * probability).astype(np.uint8)

    tracemalloc.start()
    try:
        made = as_bytes(probability)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert np.array_equal(made, expected)
    assert most < 2 * made.nbytes
