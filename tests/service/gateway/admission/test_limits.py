from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.errors import RateLimited
from lexiseg_service.gateway.admission import limits
from lexiseg_service.gateway.admission.limits import DAY, ClientLimits, Rule, client_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limited(rule: Rule, clock: Clock | None = None) -> ClientLimits:
    return ClientLimits(lambda client: rule, clock or Clock(), today=lambda: 0.0)


async def pass_through(counted: ClientLimits, client: str = "a") -> None:
    async with counted.admit(client):
        pass


async def refused(counted: ClientLimits, client: str = "a") -> int:
    """The Retry-After of a refusal."""
    with pytest.raises(RateLimited) as caught:
        await pass_through(counted, client)
    return int(caught.value.headers["Retry-After"])


async def test_a_burst_is_admitted_and_then_one_request_at_a_time(clock: Clock) -> None:
    counted = limited(Rule(rate=0.5, burst=2), clock)
    for _ in range(2):
        await pass_through(counted)

    assert await refused(counted) == 2
    clock.now += 2
    await pass_through(counted)
    assert await refused(counted) == 2


async def test_a_refusal_costs_no_token(clock: Clock) -> None:
    counted = limited(Rule(rate=1, burst=1), clock)
    await pass_through(counted)
    for _ in range(10):
        clock.now += 0.05
        await refused(counted)

    clock.now += 0.5
    await pass_through(counted)


@given(st.lists(st.floats(0, 3), max_size=60))
async def test_no_period_has_more_requests_than_rate_and_burst_allow(pauses: list[float]) -> None:
    clock = Clock()
    counted = limited(Rule(rate=2, burst=3), clock)
    times = []
    for pause in pauses:
        clock.now += pause
        try:
            await pass_through(counted)
        except RateLimited:
            continue
        times.append(clock.now)

    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= 3 + 2 * (times[last] - begin) + 1e-6


async def test_a_concurrent_place_is_free_again_once_its_request_ends_or_fails() -> None:
    counted = limited(Rule(concurrent=2))

    async def fail() -> None:
        async with counted.admit("a"):
            assert await refused(counted) == 1
            await pass_through(counted, "b")
            raise ValueError("broken")

    async with counted.admit("a"):
        with pytest.raises(ValueError, match="broken"):
            await fail()
        await pass_through(counted)


async def test_memory_holds_a_bounded_number_of_clients(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CLIENTS", 2)
    counted = limited(Rule(rate=1, burst=1), clock)
    for client in "abc":
        await pass_through(counted, client)

    await pass_through(counted, "a")  # was dropped first
    await refused(counted, "c")
    assert counted.nbytes == 2 * limits.BYTES_PER_CLIENT


@pytest.mark.parametrize(
    ("key_id", "address", "client"),
    [
        ("camera", "10.0.0.1", "key:camera"), (None, "10.0.0.1", "address:10.0.0.1"),
        (None, "2001:db8:1:2:3::4", "address:2001:db8:1:2::/64"), (None, "::ffff:10.0.0.1", "address:10.0.0.1"),
        (None, "testclient", "address:testclient"), (None, None, "address:unknown"),
    ],
)  # fmt: skip
def test_a_request_counts_for_its_key_or_its_address(key_id: str | None, address: str | None, client: str) -> None:
    assert client_of(key_id, address) == client


async def test_a_daily_quota_is_renewed_at_midnight() -> None:
    now = 5 * DAY + 1000.0
    counted = ClientLimits(lambda client: Rule(daily=2), today=lambda: now)
    for _ in range(2):
        await pass_through(counted)

    assert await refused(counted) == DAY - 1000
    await pass_through(counted, "b")
    now = 6 * DAY + 1.0
    await pass_through(counted)


async def test_a_refusal_of_the_rate_does_not_count_for_the_day(clock: Clock) -> None:
    counted = limited(Rule(rate=1, burst=1, daily=2), clock)
    await pass_through(counted)
    await refused(counted)
    clock.now += 1

    await pass_through(counted)


async def test_each_client_has_its_own_rule() -> None:
    counted = ClientLimits(lambda client: Rule(concurrent=1) if client == "a" else Rule())
    async with AsyncExitStack() as stack:
        for client in "abbb":
            await stack.enter_async_context(counted.admit(client))

        assert await refused(counted) == 1
