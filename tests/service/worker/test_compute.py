"""Concurrent image passes on the cores of a CPU, and exclusive work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.features import TileFeatures
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from tests.service.worker.gated_colours import SOON, GatedColours, ask
from tests.waiting import until

CORES = 2


class SideBySide(GatedColours):
    """Colours whose passes may run beside each other, each until it gets a permit; `shares` are their threads."""

    passes_side_by_side = True

    def __init__(self) -> None:
        super().__init__()
        self.shares: list[int] = []
        self.permits = threading.Semaphore(0)

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        self.shares.append(torch.get_num_threads())
        made = super().encode_tiles(tiles)
        assert self.permits.acquire(timeout=SOON)
        return made

    def begun(self) -> None:
        """Waits until one more pass has begun."""
        assert self.entered.acquire(timeout=SOON)


class Bench:
    def __init__(self, segmenter: SideBySide) -> None:
        self.segmenter = segmenter
        self.metrics = Metrics()
        self.engine = Engine(segmenter, Settings(feature_cache_bytes=0, device="cpu"), self.metrics)

    def ask(self, n: int) -> list[Future[WorkerAnswer]]:
        return [self.engine.submit(ask("red")) for _ in range(n)]

    def until_waiting(self, n: int) -> None:
        until(lambda: self.metrics.registry.get_sample_value("lexiseg_queue_depth") == n)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("lexiseg_service.worker.compute.COMPUTE_THREADS", CORES)
    made = Bench(SideBySide())
    yield made
    made.segmenter.permits.release(100)
    made.engine.close(SOON)


def test_a_lone_request_has_all_cores_and_concurrent_ones_have_one_each(bench: Bench) -> None:
    answers = bench.ask(1)
    bench.segmenter.begun()
    answers += bench.ask(2)
    bench.until_waiting(2)
    bench.segmenter.permits.release()
    bench.segmenter.begun()
    bench.segmenter.begun()

    assert bench.segmenter.batches == [1, 1, 1]
    assert bench.segmenter.shares == [CORES, 1, 1]
    bench.segmenter.permits.release()
    until(lambda: sum(answer.done() for answer in answers) == 2)
    bench.segmenter.permits.release()
    assert [answer.result(SOON).segments[0].label for answer in answers] == ["red"] * 3


def test_other_work_has_the_device_alone(bench: Bench) -> None:
    answers = bench.ask(1)
    bench.segmenter.begun()
    at_work, go_on = threading.Event(), threading.Event()

    def errand() -> None:
        at_work.set()
        assert go_on.wait(SOON)

    done = bench.engine._compute.run(errand)
    answers += bench.ask(1)
    bench.until_waiting(1)
    assert not at_work.is_set()
    bench.segmenter.permits.release()
    answers[0].result(SOON)
    assert at_work.wait(SOON)
    assert len(bench.segmenter.batches) == 1
    go_on.set()
    bench.segmenter.permits.release()

    done.result(SOON)
    answers[1].result(SOON)


def test_passes_of_other_models_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setattr(SideBySide, "passes_side_by_side", False)
    answers = bench.ask(1)
    bench.segmenter.begun()
    answers += bench.ask(2)
    bench.until_waiting(2)
    bench.segmenter.permits.release(2)

    assert all(answer.result(SOON) for answer in answers)
    assert bench.segmenter.batches == [1, 2]
    assert bench.segmenter.shares == [CORES] * 2
