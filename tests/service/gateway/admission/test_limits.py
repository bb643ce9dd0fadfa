from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.errors import RateLimited
from lexiseg_service.gateway.admission import limits
from lexiseg_service.gateway.admission.limits import DAY, MemoryGate, Rule, admitted, client_of
from lexiseg_service.settings import Settings


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def refused(gate: MemoryGate, client: str = "a") -> int:
    """Seconds to wait by the refusal."""
    with pytest.raises(RateLimited) as caught:
        await gate.enter(client)
    return int(caught.value.headers["Retry-After"])


async def test_a_burst_is_let_in_and_then_one_at_a_time(clock: Clock) -> None:
    gate = MemoryGate(Rule(rate=0.5, burst=2), clock)
    for _ in range(2):
        await gate.enter("a")

    assert await refused(gate) == 2
    clock.now += 2
    await gate.enter("a")
    assert await refused(gate) == 2


async def test_a_pause_gives_no_more_than_the_burst(clock: Clock) -> None:
    gate = MemoryGate(Rule(rate=10, burst=3), clock)
    await gate.enter("a")
    clock.now += 1e6

    for _ in range(3):
        await gate.enter("a")
    assert await refused(gate) == 1


async def test_a_refusal_costs_nothing(clock: Clock) -> None:
    gate = MemoryGate(Rule(rate=1, burst=1), clock)
    await gate.enter("a")
    for _ in range(10):
        clock.now += 0.05
        await refused(gate)

    clock.now += 0.5
    await gate.enter("a")


async def test_one_client_does_not_use_up_what_is_anothers(clock: Clock) -> None:
    gate = MemoryGate(Rule(rate=1, burst=1, concurrent=1), clock)
    await gate.enter("a")

    await gate.enter("b")


@given(st.lists(st.floats(0, 3), max_size=60))
async def test_no_stretch_of_time_holds_more_than_rate_and_burst_allow(pauses: list[float]) -> None:
    clock = Clock()
    gate = MemoryGate(Rule(rate=2, burst=3), clock)
    times = []
    for pause in pauses:
        clock.now += pause
        try:
            await gate.enter("a")
        except RateLimited:
            continue
        times.append(clock.now)

    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= 3 + 2 * (times[last] - begin) + 1e-6


async def test_a_place_is_free_again_once_a_request_is_answered() -> None:
    gate = MemoryGate(Rule(concurrent=2))
    async with admitted(gate, "a"):
        async with admitted(gate, "a"):
            assert await refused(gate) == 1
        async with admitted(gate, "a"):
            pass


async def test_a_request_that_fails_gives_its_place_back() -> None:
    gate = MemoryGate(Rule(concurrent=1))
    with pytest.raises(ValueError, match="broken"):
        async with admitted(gate, "a"):
            raise ValueError("broken")

    await gate.enter("a")


async def test_a_refusal_for_too_many_at_once_costs_no_token(clock: Clock) -> None:
    gate = MemoryGate(Rule(rate=1, burst=2, concurrent=1), clock)
    await gate.enter("a")
    await refused(gate)
    await gate.leave("a", "")

    await gate.enter("a")


async def test_memory_holds_a_bounded_number_of_clients(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_CLIENTS", 2)
    gate = MemoryGate(Rule(rate=1, burst=1), clock)
    for client in "abc":
        await gate.enter(client)

    await gate.enter("a")  # forgotten first
    await refused(gate, "c")
    assert gate.nbytes == 2 * limits.BYTES_OF_A_CLIENT


@pytest.mark.parametrize(
    ("key_id", "address", "client"),
    [
        ("camera", "10.0.0.1", "key:camera"),
        (None, "10.0.0.1", "address:10.0.0.1"),
        (None, "2001:db8:1:2:3::4", "address:2001:db8:1:2::/64"),
        (None, "::ffff:10.0.0.1", "address:10.0.0.1"),
        (None, "testclient", "address:testclient"),
        (None, None, "address:unknown"),
    ],
)
def test_a_request_counts_for_its_key_or_its_address(key_id: str | None, address: str | None, client: str) -> None:
    assert client_of(key_id, address) == client


def test_limits_are_off_unless_they_are_set() -> None:
    assert not Rule.of(Settings()).on


@pytest.mark.parametrize(("rate", "burst", "expected"), [(0.2, None, 1), (2.5, None, 3), (2.5, 10, 10)])
def test_the_burst_is_one_seconds_requests_unless_set(rate: float, burst: int | None, expected: int) -> None:
    assert Rule.of(Settings(rate_limit=rate, rate_burst=burst)).burst == expected


async def test_a_day_has_so_many_requests_and_the_next_as_many() -> None:
    now = 5 * DAY + 1000.0
    gate = MemoryGate(Rule(daily=2), today=lambda: now)
    for _ in range(2):
        await gate.leave("a", await gate.enter("a"))

    assert await refused(gate) == DAY - 1000
    await gate.enter("b")
    now = 6 * DAY + 1.0
    await gate.enter("a")


async def test_a_refusal_for_the_rate_is_none_of_the_days_requests(clock: Clock) -> None:
    gate = MemoryGate(Rule(rate=1, burst=1, daily=2), clock, today=lambda: 0.0)
    await gate.enter("a")
    await refused(gate)
    clock.now += 1

    await gate.enter("a")


async def test_each_client_has_a_rule_of_its_own() -> None:
    gate = MemoryGate(lambda client: Rule(concurrent=1) if client == "a" else Rule())
    await gate.enter("a")
    for _ in range(3):
        await gate.enter("b")

    assert await refused(gate) == 1
