from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from lexiseg_service.worker.video.turns import Turns
from tests.service.worker.gated_colours import SOON


def test_work_that_comes_out_of_order_is_done_in_order() -> None:
    turns, done = Turns(), list[int]()
    for number in (2, 0, 1, 4, 3):
        assert turns.bring(number, partial(done.append, number))

    assert done == [0, 1, 2, 3, 4]


def test_work_waits_for_its_turn_and_nobody_waits_for_it() -> None:
    turns, done = Turns(), list[int]()

    turns.bring(1, partial(done.append, 1))

    assert done == []


def test_a_number_that_was_brought_is_not_done_again() -> None:
    turns, done = Turns(), list[str]()
    turns.bring(1, partial(done.append, "first one"))

    assert not turns.bring(1, partial(done.append, "second one"))
    turns.bring(0, partial(done.append, "zero"))
    assert not turns.bring(0, partial(done.append, "late zero"))

    assert done == ["zero", "first one"]


def test_many_threads_keep_the_order_and_never_work_side_by_side() -> None:
    turns, done, inside = Turns(), list[int](), threading.Lock()

    def work(number: int) -> None:
        assert inside.acquire(blocking=False), "two at a time"
        done.append(number)
        inside.release()

    numbers = list(range(500))
    random.Random(0).shuffle(numbers)
    with ThreadPoolExecutor(8) as threads:
        for brought in [threads.submit(turns.bring, number, partial(work, number)) for number in numbers]:
            assert brought.result(SOON)

    assert done == list(range(500))
