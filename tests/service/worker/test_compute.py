"""The threads that own the device."""

import threading
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.features import TileFeatures
from lexiseg_service.fair_queue import FairExecutor
from lexiseg_service.worker.compute import use_one_core
from tests.service.worker.engine.bench import Bench
from tests.service.worker.engine.test_models import STRIPS, Strips
from tests.service.worker.gated_colours import GatedColours, ask, halves
from tests.waiting import SOON, until


class LateFirst(Strips):
    """The first pass ends after all others."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = count()
        self.others = threading.Semaphore(0)

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        number, encoded = next(self.numbers), super().encode_tiles(tiles)
        if number == 0:
            for _ in range(STRIPS - 1):
                assert self.others.acquire(timeout=SOON)
        else:
            self.others.release()
        return encoded


@pytest.fixture
def on_two_cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[GatedColours], Bench]:
    """Makes an engine on a CPU with two cores, over a model whose passes overlap."""
    monkeypatch.setattr("lexiseg_service.worker.engine.choose_device", lambda name: torch.device("cpu"))
    monkeypatch.setattr("lexiseg_service.worker.engine.COMPUTE_THREADS", 2)

    def make(segmenter: GatedColours) -> Bench:
        segmenter.passes_overlap = True
        return Bench(segmenter)

    return make


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_on_a_cpu_passes_that_overlap_run_at_a_time_and_others_one_after_another(
    at_a_time: int, on_two_cores: Callable[[GatedColours], Bench]
) -> None:
    bench = on_two_cores(GatedColours())
    bench.segmenter.passes_overlap = at_a_time > 1
    bench.segmenter.gate.clear()
    answers = [bench.submit(ask("red")) for _ in range(3)]

    for _ in range(at_a_time):
        assert bench.segmenter.entered.acquire(timeout=SOON)
    bench.until_waiting(3 - at_a_time)
    assert bench.segmenter.batches == [1] * at_a_time

    bench.release()
    for answer in answers:
        answer.result(SOON)
    bench.close()


def test_an_image_has_its_tiles_in_order_whichever_pass_ends_first(
    on_two_cores: Callable[[GatedColours], Bench],
) -> None:
    bench = on_two_cores(LateFirst())

    answer = bench.submit(ask("red", "blue", image=halves("r", "b", 24))).result(SOON)

    assert bench.segmenter.batches == [1] * STRIPS
    assert [segment.bbox for segment in answer.segments] == [(0, 0, 12, 24), (12, 0, 12, 24)]
    bench.close()


def test_other_work_waits_for_the_pass_under_way_and_goes_before_the_next() -> None:
    bench = Bench()
    bench.hold()
    waiting = bench.submit(ask("red"))
    bench.until_waiting(1)
    begun, go_on = threading.Event(), threading.Event()

    def warm_up() -> None:
        begun.set()
        assert go_on.wait(SOON)

    done = bench.engine._compute.run(warm_up)
    assert not begun.is_set()
    bench.release()
    assert begun.wait(SOON)
    assert bench.segmenter.batches == [1]
    go_on.set()

    done.result(SOON)
    waiting.result(SOON)
    bench.engine.close(SOON)


def test_torch_keeps_to_the_thread_whatever_other_threads_have_set() -> None:
    before = torch.get_num_threads()
    threads = FairExecutor("test", 1, initializer=use_one_core)
    numbers: list[int] = []
    threads.submit("x", lambda: numbers.append(0))  # its thread has not used torch yet
    until(lambda: bool(numbers))

    torch.set_num_threads(3)
    threads.submit("x", lambda: numbers.append(torch.get_num_threads()))
    until(lambda: len(numbers) == 2)
    torch.set_num_threads(before)
    threads.close()

    assert numbers[1] == 1
