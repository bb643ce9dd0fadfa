"""Order of a fair queue, and of the threads that take from it."""

import gc
import pickle
import re
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

import pytest

from lexiseg_service.fair_queue import FairExecutor, FairQueue, Sender
from tests.waiting import SOON, soon, until


def served(queue: FairQueue[str]) -> str:
    """The next item, which is removed and costs its sender 1."""
    item = queue.next()
    assert item is not None
    queue.take(item, 1)
    return item


def test_the_flows_of_a_client_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("frame 0", "frame 1", "photograph 0"):
        queue.add(item, Sender("x", item.split()[0]))

    assert [served(queue) for _ in range(3)] == ["frame 0", "photograph 0", "frame 1"]


def test_an_item_that_goes_ahead_passes_its_own_flow_alone() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("begin", Sender("x"))
    queue.add("other", Sender("y"))
    queue.add("go on", Sender("x"), ahead=True)

    assert [served(queue) for _ in range(3)] == ["go on", "other", "begin"]


def test_idle_clients_and_flows_are_forgotten() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.add(f"client {number}", Sender(f"client {number}"))
        queue.add(f"flow {number}", Sender("x", f"flow {number}"))
        served(queue)
        served(queue)

    remembered = re.findall(rb"(?:client|flow) \d+", pickle.dumps(queue))
    assert 0 < len(remembered) < 60


class Stage:
    """Two threads, work that waits at a gate, and the names of what has begun."""

    def __init__(self) -> None:
        self.small_in_flight = False
        self.threads = FairExecutor("test", 2, small_in_flight=lambda: self.small_in_flight)
        self.gate = threading.Event()
        self.begun: list[str] = []

    def put(self, name: str, source: str = "x", *, large: bool = False, begins: Future[None] | None = None) -> None:
        def work() -> None:
            self.begun.append(name)
            assert self.gate.wait(SOON)

        self.threads.submit(source, work, large=large, begins=begins)

    def until_begun(self, n: int) -> None:
        until(lambda: len(self.begun) == n)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.gate.set()
    made.threads.close()


def test_large_work_leaves_a_thread_to_small(stage: Stage) -> None:
    for n in range(4):
        stage.put(f"large {n}", large=True)
    until(stage.threads._threads._work_queue.empty)  # every thread has looked for work
    stage.until_begun(2)

    stage.put("small")
    stage.until_begun(3)

    assert stage.begun[2] == "small"
    assert len(stage.threads.waits) == 2


def test_large_work_leaves_a_core_while_small_work_is_in_flight(stage: Stage) -> None:
    stage.small_in_flight = True
    for n in range(4):
        stage.put(f"large {n}", large=True)
    until(stage.threads._threads._work_queue.empty)
    stage.until_begun(1)

    stage.small_in_flight = False
    stage.gate.set()

    stage.until_begun(4)


def test_begun_requests_are_finished_before_others_are_begun(stage: Stage) -> None:
    stage.small_in_flight = True  # one large task at a time
    stage.put("begin 0", large=True, begins=Future())
    stage.until_begun(1)
    stage.put("begin 1", large=True, begins=Future())
    for number in (0, 1):
        stage.put(f"finish {number}", large=True)
    stage.gate.set()

    stage.until_begun(4)
    assert stage.begun == ["begin 0", "finish 0", "finish 1", "begin 1"]


def test_a_large_request_is_begun_when_few_are_begun_and_not_answered(stage: Stage) -> None:
    stage.gate.set()
    answers: list[Future[None]] = [Future() for _ in range(6)]
    for number, answer in enumerate(answers):
        stage.put(f"begin {number}", large=True, begins=answer)
    stage.until_begun(2)
    stage.put("small", begins=Future())
    stage.until_begun(3)
    assert len(stage.threads.waits) == 4

    answers[0].cancel()

    stage.until_begun(4)
    assert stage.begun[2:] == ["small", "begin 2"]


def test_work_that_fails_costs_no_thread(stage: Stage) -> None:
    def fail() -> None:
        raise RuntimeError("as it may happen")

    for _ in range(5):
        stage.threads.submit("x", fail)
    stage.gate.set()
    stage.put("after it")

    stage.until_begun(1)


def test_closed_threads_do_nothing_more(stage: Stage) -> None:
    for n in range(5):
        stage.put(f"{n}")
    stage.until_begun(3)

    stage.threads.close()
    stage.put("late")
    stage.gate.set()

    assert len(stage.threads.waits) == 0
    assert len(stage.begun) == 3


def test_work_in_the_background_waits_for_all_other_work(stage: Stage) -> None:
    stage.small_in_flight = True  # one large task at a time
    stage.put("first", large=True)
    stage.until_begun(1)
    for name in ("background 0", "background 1"):
        stage.threads.submit("y", partial(stage.begun.append, name), large=True, background=True)
    for n in range(2):
        stage.put(f"large {n}", large=True)
    stage.gate.set()

    stage.until_begun(5)
    assert stage.begun[1:] == ["large 0", "large 1", "background 0", "background 1"]


def test_a_begun_request_in_the_background_takes_no_others_place(stage: Stage) -> None:
    stage.gate.set()
    for n in range(3):
        stage.threads.submit("y", partial(stage.begun.append, f"b{n}"), large=True, background=True, begins=Future())
    stage.until_begun(2)

    stage.put("large", large=True, begins=Future())

    stage.until_begun(3)
    assert stage.begun == ["b0", "b1", "large"]


class Picture:
    """Something that can be watched by a weak reference."""

    def refuse(self) -> None:
        raise ValueError("not a picture")


async def test_what_failing_work_held_is_freed_without_a_collection() -> None:
    threads = FairExecutor("test", 1)

    async def asked() -> weakref.ref[Picture]:
        picture = Picture()
        with suppress(ValueError):
            await threads.call("x", picture.refuse)
        return weakref.ref(picture)

    gc.disable()
    try:
        freed = await asked()
        await soon(lambda: freed() is None)
    finally:
        gc.enable()
        threads.close()
