"""The queue before the device: cancelled, expired and refused requests, and the end of the engine."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.features import TileFeatures
from lexiseg_service.errors import DeadlineExceeded, NotReady
from tests.service.worker.engine.bench import Bench
from tests.service.worker.gated_colours import ask
from tests.waiting import SOON, until


def test_work_that_expires_while_it_waits_is_dropped(bench: Bench) -> None:
    bench.hold()
    deadline = time.monotonic() + 0.5
    waiting = bench.submit(ask("red", deadline=deadline))
    until(lambda: time.monotonic() > deadline)
    bench.release()

    assert isinstance(waiting.exception(SOON), DeadlineExceeded)
    assert bench.segmenter.batches == [1]


def test_work_cancelled_while_its_batch_is_halved_costs_no_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.segmenter.most_tiles = 1
    bench.hold()
    stays, left = bench.line_up(ask("red"), ask("blue"))
    encode = bench.segmenter.encode_tiles

    def encode_and_leave(tiles: NDArray[np.uint8]) -> TileFeatures:
        if bench.segmenter.batches == [1, 2]:  # the first half is under way
            left.cancel()
        return encode(tiles)

    monkeypatch.setattr(bench.segmenter, "encode_tiles", encode_and_leave)
    bench.release()
    stays.result(SOON)
    bench.submit(ask("green")).result(SOON)

    assert bench.segmenter.batches == [1, 2, 1, 1]


def test_a_place_in_the_queue_is_free_once_an_answer_is_out() -> None:
    bench = Bench(queue_limit=1)

    for _ in range(3):
        bench.submit(ask("red")).result(SOON)
        until(lambda: bench.engine.in_flight == 0)

    bench.engine.close(SOON)


def test_closing_answers_what_is_in_flight() -> None:
    bench = Bench()
    bench.hold()
    answer = bench.submit(ask("red"))
    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(bench.engine.close, SOON)
        bench.release()
        closing.result(SOON)

    assert answer.done()
    assert len(answer.result(0).segments) == 1


def test_closing_fails_what_it_has_no_time_for() -> None:
    bench = Bench()
    bench.hold()
    answers = [bench.submit(ask("red")) for _ in range(4)]
    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(bench.engine.close, 0.0)
        failures = [answer.exception(SOON) for answer in answers]
        bench.release()
        closing.result(SOON)

    assert [type(failure) for failure in failures] == [NotReady] * 4
