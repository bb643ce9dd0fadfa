"""The finish stage: single-flight of what an image derives, and confidence maps in small parts."""

import tracemalloc
from functools import partial

import numpy as np

from lexiseg_service.worker.finish import SingleFlight, as_bytes


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


def test_jobs_that_waited_for_a_success_go_on_together_and_leave_without_a_trace() -> None:
    flights, under_way = SingleFlight(), list[str]()
    for name in ("first", "second", "third"):
        flights.join("image", partial(under_way.append, name))
    assert under_way == ["first"]

    flights.leave("image", succeeded=True)
    assert under_way == ["first", "second", "third"]
    for _ in range(2):
        flights.leave("image", succeeded=True)

    flights.join("image", partial(under_way.append, "fourth"))
    assert under_way[-1] == "fourth"
