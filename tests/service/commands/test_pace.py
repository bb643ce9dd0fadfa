from __future__ import annotations

import threading

from lexiseg_service.commands.pace import GOOD_RUN, Pace


class Clock:
    """Stands still but for sleepers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def paced(most: int) -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(most, clock.sleep, clock), clock


def test_without_refusals_nobody_waits() -> None:
    pace, clock = paced(4)

    for _ in range(100):
        with pace.lane():
            pace.answered()

    assert (pace.lanes, clock.slept) == (4, [])


def test_a_refusal_closes_a_lane_and_holds_up_whoever_comes_next() -> None:
    pace, clock = paced(4)

    with pace.lane():
        pace.refused(3.0)
    with pace.lane():
        pass

    assert (pace.lanes, clock.slept) == (3, [3.0])


def test_the_last_lane_stays_open() -> None:
    pace, _ = paced(2)

    for _ in range(5):
        pace.refused(0.0)

    assert pace.lanes == 1


def test_a_run_of_answers_opens_a_lane_again_but_no_more_than_there_were() -> None:
    pace, _ = paced(2)
    pace.refused(0.0)

    for _ in range(GOOD_RUN):
        pace.answered()
    opened = pace.lanes
    for _ in range(3 * GOOD_RUN):
        pace.answered()

    assert (opened, pace.lanes) == (2, 2)


def test_no_more_than_the_lanes_are_under_way() -> None:
    pace, _ = paced(2)
    under_way, most_seen, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def request() -> None:
        nonlocal under_way, most_seen
        with pace.lane():
            with lock:
                under_way += 1
                most_seen = max(most_seen, under_way)
            both.wait(30)  # two lanes: two by two, or nobody gets on
            with lock:
                under_way -= 1

    threads = [threading.Thread(target=request) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most_seen == 2
