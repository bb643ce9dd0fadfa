"""The threads that own the device."""

import threading
from collections import Counter
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexiseg_model.features import Plan, TileFeatures
from lexiseg_model.types import Vocabulary
from lexiseg_service.fair_queue import FairExecutor, FairQueue
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.worker.compute import Portion, next_batch, use_one_core
from lexiseg_service.worker.finish import render
from lexiseg_service.worker.job import AnyJob, Job
from lexiseg_service.worker.models.pool import Loaded
from tests.model.stand_in import ColourSegmenter
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


FAST = "a stream that never stops"
KEYS = ("tiny 288", "tiny 640", "tcl 448")
MODELS = {key: Loaded(ColourSegmenter(), threading.Condition()) for key in KEYS}


def job(source: str, key: str = KEYS[0], n_tiles: int = 1, name: str = "") -> AnyJob:
    """A planned job: who sent it, what it can share a batch with, and how much of it there is."""
    request = WorkerRequest(None, Vocabulary(()), key, source=source, request_id=name)
    planned = Job(request, render)
    planned.loaded = MODELS[key]
    planned.plan = Plan((1, 1), np.empty((n_tiles, 3, 1, 1), np.uint8))
    return planned


def queue_of(*jobs: AnyJob) -> FairQueue[AnyJob]:
    queue: FairQueue[AnyJob] = FairQueue()
    for each in jobs:
        put(queue, each)
    return queue


def put(queue: FairQueue[AnyJob], added: AnyJob) -> None:
    queue.add(added, added.sender)


def names(batch: list[Portion]) -> list[str]:
    return [portion.job.request.request_id for portion in batch]


def test_a_job_of_many_tiles_gives_way_to_others_between_its_batches() -> None:
    queue = queue_of(job("x", n_tiles=12, name="windows"), job("y", name="photograph"))

    batches = [[(each.request.request_id, first, last) for each, first, last in next_batch(queue, 5)] for _ in range(4)]

    assert batches == [[("windows", 0, 5)], [("photograph", 0, 1), ("windows", 5, 9)], [("windows", 9, 12)], []]


def test_a_new_client_goes_before_those_already_served() -> None:
    queue = queue_of(*(job(source, name=f"{source}{n}") for source in "xyz" for n in range(3)))
    next_batch(queue, 1)
    next_batch(queue, 1)
    put(queue, job("modest", name="modest"))

    assert [names(next_batch(queue, 1)) for _ in range(4)] == [["z0"], ["modest"], ["x1"], ["y1"]]


def test_a_returning_client_waits_until_the_others_are_served() -> None:
    queue = queue_of(*(job(source, name=f"{source}{n}") for source in "xy" for n in range(3)))
    order = []
    for _ in range(6):
        put(queue, job("modest", name="modest"))
        order += names(next_batch(queue, 1))

    assert order == ["x0", "y0", "modest", "x1", "y1", "modest"]


def test_a_crowd_of_new_clients_starves_nobody() -> None:
    queue = queue_of(*(job("x", name=f"x{n}") for n in range(3)))
    order = []
    for number in range(40):
        put(queue, job(f"new {number}", name="new"))
        order += names(next_batch(queue, 1))

    assert [order.index(f"x{n}") for n in range(3)] == [0, 9, 18]


sources = st.sampled_from(["", "key-1", "key-2", "stream-1"])
keys = st.sampled_from(KEYS)
crowds = st.lists(st.builds(job, sources, keys), max_size=30)


@given(crowds, st.integers(1, 8), st.integers(1, 20), keys)
def test_the_number_of_batches_that_a_job_waits_for_is_bounded(
    crowd: list[AnyJob], most: int, frames: int, key: str
) -> None:
    queue = queue_of(*crowd)
    n_sources = len({each.source for each in crowd} | {FAST})
    n_jobs = Counter(each.source for each in crowd)
    # Each source begins a batch for each job of this job's source: a later one may share a batch of another source.
    bounds = {id(each): n_jobs[each.source] * n_sources for each in crowd}

    for batch in range(1, max(bounds.values(), default=0) + 1):
        for _ in range(frames):  # the fast source always has a job in the queue
            put(queue, job(FAST, key))
        for each, _, _ in next_batch(queue, most):
            assert batch <= bounds.pop(id(each), batch)

    assert not bounds


@given(st.lists(st.builds(job, sources, keys, st.integers(1, 20)), max_size=20), st.integers(1, 8))
def test_every_tile_is_taken_once_in_order_with_its_own_kind(crowd: list[AnyJob], most: int) -> None:
    queue = queue_of(*crowd)
    taken: dict[int, int] = {}

    while batch := next_batch(queue, most):
        assert len({portion.job.key for portion in batch}) == 1
        assert 0 < sum(portion.last - portion.first for portion in batch) <= most
        for each, first, last in batch:
            assert taken.get(id(each), 0) == first < last
            taken[id(each)] = last

    assert taken == {id(each): each.n_tiles for each in crowd}
    assert len(queue) == 0


@given(st.integers(1, 8), st.integers(10, 20), st.sampled_from([lambda n: KEYS[0], lambda n: KEYS[n]]))
def test_busy_clients_get_the_same_share(most: int, batches: int, key_of: Callable[[int], str]) -> None:
    queue: FairQueue[AnyJob] = FairQueue()
    for number in range(3):
        for _ in range(batches * most):
            put(queue, job(f"source {number}", key_of(number)))

    tiles = Counter(portion.job.source for _ in range(batches) for portion in next_batch(queue, most))

    assert max(tiles.values()) - min(tiles[f"source {number}"] for number in range(3)) <= most
