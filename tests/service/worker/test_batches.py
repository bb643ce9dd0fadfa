"""Batches for the device."""

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_model.features import Plan
from lexiseg_model.types import Vocabulary
from lexiseg_service.fair_queue import FairQueue
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.worker.compute import Portion, next_batch
from lexiseg_service.worker.finish import render
from lexiseg_service.worker.job import AnyJob, Job
from lexiseg_service.worker.models.pool import Loaded
from tests.model.stand_in import ColourSegmenter

FAST = "a stream that never stops"
KEYS = ("tiny 288", "tiny 640", "tcl 448")
MODELS = {key: Loaded(ColourSegmenter(), threading.Condition()) for key in KEYS}


def job(source: str, key: str = KEYS[0], n_tiles: int = 1, name: str = "", flow: str = "") -> AnyJob:
    """A planned job: who sent it, what it can share a batch with, and how much of it there is."""
    request = WorkerRequest(None, Vocabulary(()), key, source=source, flow=flow, request_id=name)
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


def test_the_room_in_a_batch_is_shared_by_clients() -> None:
    queue = queue_of(*(job("x", name=f"x{n}") for n in range(9)), job("y", name="y0"), job("z", name="z0"))

    assert names(next_batch(queue, 5)) == ["x0", "y0", "z0", "x1", "x2"]


def test_a_job_of_many_tiles_gives_way_to_others_between_its_batches() -> None:
    queue = queue_of(job("x", n_tiles=12, name="windows"), job("y", name="photograph"))

    batches = [[(each.request.request_id, first, last) for each, first, last in next_batch(queue, 5)] for _ in range(4)]

    assert batches == [[("windows", 0, 5)], [("photograph", 0, 1), ("windows", 5, 9)], [("windows", 9, 12)], []]


def test_within_a_client_its_flows_alternate() -> None:
    stream = [job("x", name=f"frame{n}", flow="stream") for n in range(3)]
    queue = queue_of(*stream, job("x", name="photograph"), job("y", name="y0"), job("y", name="y1"))

    batches = [names(next_batch(queue, 2)) for _ in range(3)]
    assert batches == [["frame0", "y0"], ["photograph", "y1"], ["frame1", "frame2"]]


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
