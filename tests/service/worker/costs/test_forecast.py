"""When a request would be answered: a clock that is set by hand."""

from __future__ import annotations

import math

import pytest

from lexiseg_service.worker.costs.costs import Costs
from lexiseg_service.worker.costs.forecast import HEADROOM, Expected, Forecast
from lexiseg_service.worker.costs.size import LARGE, Size

SECONDS_PER_TEXT = Costs().reading(Size(texts=1.0))


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def expected(source: str, large: bool, work: float, reading: float = 0.0) -> Expected:
    """A request that takes so many seconds, as long as nothing is learned."""
    finish = LARGE if large else 0.0
    return Expected(source, Size(image=1e3 * work - finish, finish=finish, texts=reading / SECONDS_PER_TEXT))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def forecast(clock: Clock) -> Forecast:
    return Forecast(Costs(), clock)


def entered(forecast: Forecast, *requests: Expected) -> None:
    for request in requests:
        forecast.enter(request)


def test_alone_a_request_takes_what_it_takes(forecast: Forecast) -> None:
    assert forecast.seconds(expected("x", False, 0.5)) == pytest.approx(0.5)


def test_behind_its_own_requests_it_waits_for_all_of_them(forecast: Forecast) -> None:
    entered(forecast, *(expected("x", True, 2.0) for _ in range(5)))

    assert forecast.seconds(expected("x", True, 2.0)) == pytest.approx(12.0)


def test_beside_another_source_it_waits_for_as_much_as_it_asks_for(forecast: Forecast) -> None:
    entered(forecast, *(expected("x", True, 2.0) for _ in range(5)))

    assert forecast.seconds(expected("y", True, 0.5)) == pytest.approx(1.0)


def test_small_work_waits_for_as_much_large_work_of_its_source(forecast: Forecast) -> None:
    entered(forecast, *(expected("x", True, 2.0) for _ in range(5)))

    assert forecast.seconds(expected("x", False, 0.1)) == pytest.approx(0.2)


def test_what_others_bring_meanwhile_is_waited_for_up_to_an_equal_share(forecast: Forecast, clock: Clock) -> None:
    for _ in range(10):  # as much as the worker can do
        entered(forecast, theirs := expected("y", False, 1.0))
        clock.now += 1.0
        forecast.leave(theirs, held=math.inf)
    entered(forecast, *(expected("x", True, 2.0) for _ in range(5)))

    assert 12.0 < forecast.seconds(expected("x", True, 2.0)) <= 24.0
    assert forecast.seconds(expected("x", True, 2.0)) > 1.3 * 12.0


def test_many_who_bring_little_hold_nobody_up(forecast: Forecast, clock: Clock) -> None:
    for number in range(1000):  # a fifth of what the worker can do
        entered(forecast, theirs := expected(f"y{number}", False, 0.01))
        clock.now += 0.01
        forecast.leave(theirs, held=math.inf)
        clock.now += 0.04

    assert forecast.seconds(expected("x", False, 0.01)) < 0.02


def test_who_brought_much_long_ago_is_forgotten(forecast: Forecast, clock: Clock) -> None:
    entered(forecast, theirs := expected("y", False, 10.0))
    forecast.leave(theirs, held=0.0)
    clock.now += 300.0
    entered(forecast, *(expected("x", True, 2.0) for _ in range(5)))

    assert forecast.seconds(expected("x", True, 2.0)) == pytest.approx(12.0, rel=0.01)


def test_texts_wait_for_texts_alone(forecast: Forecast) -> None:
    entered(forecast, expected("x", False, 0.1, reading=20.0))

    assert forecast.seconds(expected("y", False, 0.1)) == pytest.approx(0.2)
    assert forecast.seconds(expected("x", False, 0.1, reading=5.0)) == pytest.approx(25.2)
    assert forecast.seconds(expected("y", False, 0.1, reading=0.1)) == pytest.approx(0.4)


def test_the_pace_is_learned(forecast: Forecast, clock: Clock) -> None:
    for _ in range(20):
        request = expected("x", False, 1.0)
        forecast.enter(request)
        clock.now += 4.0  # four times as long as expected
        forecast.leave(request, held=math.inf)

    assert forecast.seconds(expected("x", False, 1.0)) == pytest.approx(4.0, rel=0.1)


def test_work_that_nobody_had_to_do_says_nothing_about_the_pace(forecast: Forecast, clock: Clock) -> None:
    for _ in range(100):  # known images, of which all but a tenth of a second is saved
        forecast.enter(known := expected("x", False, 1.0))
        forecast.shrinks(known, Size(image=100.0))
        clock.now += 0.1
        forecast.leave(known, held=math.inf)
    clock.now += 1000.0  # what was brought is forgotten

    assert forecast.seconds(expected("y", False, 1.0)) == pytest.approx(1.0)


def test_of_a_known_image_only_what_is_left_is_waited_for(forecast: Forecast) -> None:
    forecast.enter(known := expected("x", True, 5.0))
    forecast.shrinks(known, known.size._replace(image=0.0))

    assert forecast.seconds(expected("x", True, 1.0)) == pytest.approx(1.0 + 1e-3 * LARGE)


def test_idle_time_says_nothing_about_the_pace(forecast: Forecast, clock: Clock) -> None:
    before = forecast.seconds(expected("x", False, 1.0))
    clock.now += 3600
    entered(forecast, gone := expected("x", False, 1.0))
    clock.now += 1.0
    forecast.leave(gone, held=math.inf)

    assert forecast.seconds(expected("x", False, 1.0)) == pytest.approx(before)


def test_time_in_the_tower_says_nothing_about_the_pace(forecast: Forecast, clock: Clock) -> None:
    request = expected("x", False, 1.0, reading=60.0)
    forecast.enter(request)
    forecast.reads(request)
    clock.now += 60.0
    forecast.has_read(request)
    clock.now += 1.0
    forecast.leave(request, held=math.inf)

    assert forecast.seconds(expected("x", False, 1.0)) == pytest.approx(1.0)


def test_a_request_that_would_come_too_late_is_told_when_it_would_not(forecast: Forecast) -> None:
    entered(forecast, *(expected("x", True, 5.0) for _ in range(5)))
    request = expected("x", True, 5.0)

    assert forecast.wait(request, 30.5 / HEADROOM) is None
    assert forecast.wait(request, 20.0 / HEADROOM) == 10


def test_those_who_are_refused_come_again_one_after_the_other(forecast: Forecast, clock: Clock) -> None:
    entered(forecast, *(expected("x", True, 5.0) for _ in range(5)))
    request = expected("x", True, 5.0)

    assert [forecast.wait(request, 20.0 / HEADROOM) for _ in range(3)] == [10, 15, 20]
    assert forecast.again(expected("y", True, 2.0)) == 2
    clock.now += 100
    assert forecast.again(expected("x", True, 2.0)) == 2


def test_nobody_is_told_to_wait_for_longer_than_half_a_minute(forecast: Forecast) -> None:
    assert max(forecast.again(expected("x", True, 10.0)) for _ in range(20)) == 30


def test_the_only_request_of_a_source_is_tried_if_nobody_else_makes_it_late(forecast: Forecast) -> None:
    entered(forecast, expected("x", True, 5.0))

    assert forecast.wait(expected("y", True, 500.0), 1.0) is None
    assert forecast.wait(expected("y", True, 0.1), 1.0) is None


def test_of_two_sources_that_would_both_come_too_late_the_second_comes_after_the_first(forecast: Forecast) -> None:
    entered(forecast, expected("x", False, 0.1, reading=25.0))
    second = expected("y", False, 0.1, reading=25.0)

    assert forecast.wait(second, 30.0) == 24  # 50.2 seconds, of which 27 may be taken
    assert forecast.wait(expected("z", False, 0.1), 30.0) is None
    assert forecast.wait(second, 60.0) is None


def test_without_a_deadline_nothing_comes_too_late(forecast: Forecast) -> None:
    entered(forecast, *(expected("x", True, 5.0) for _ in range(5)))

    assert forecast.wait(expected("x", True, 5.0), float("inf")) is None


def test_what_is_answered_is_no_longer_waited_for(forecast: Forecast) -> None:
    entered(forecast, first := expected("x", True, 5.0))

    forecast.leave(first, held=0.0)
    forecast.leave(first, held=0.0)  # once more does no harm

    assert forecast.seconds(expected("x", True, 1.0)) == pytest.approx(1.0)


def test_what_was_expected_and_not_done_is_no_pace(forecast: Forecast, clock: Clock) -> None:
    for _ in range(20):
        known = expected("x", False, 1.0)
        forecast.enter(known)
        clock.now += 0.01
        forecast.leave(known, held=0.01)  # most of it was remembered

    assert forecast.seconds(expected("x", False, 1.0)) > 0.9
