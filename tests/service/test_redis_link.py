import pytest

from lexiseg_service.redis_link import COOL_DOWN_SECONDS, FAILURES, Breaker, State


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        breaker.failure()
    return breaker


def test_one_call_goes_through_after_the_cool_down(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += COOL_DOWN_SECONDS

    assert [breaker.allow(), breaker.allow()] == [True, False]
    assert breaker.state is State.HALF_OPEN


def test_a_trial_that_fails_opens_it_for_another_cool_down(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += COOL_DOWN_SECONDS
    breaker.allow()
    clock.now += 1
    breaker.failure()
    clock.now += COOL_DOWN_SECONDS - 0.1

    assert breaker.state is State.OPEN
    assert not breaker.allow()


def test_a_late_success_does_not_close_it(clock: Clock) -> None:
    breaker = opened(clock)
    breaker.success()

    assert breaker.state is State.OPEN
