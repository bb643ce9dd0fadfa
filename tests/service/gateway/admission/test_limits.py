"""The limits of one client, counted within a process, and in Redis for two gateways together."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.errors import RateLimited
from lexiseg_service.gateway.admission import limits, redis_limits
from lexiseg_service.gateway.admission.limits import DAY, ClientLimits, Rule, client_of
from lexiseg_service.gateway.admission.redis_limits import RedisLimits

MIDNIGHT = 20 * DAY  # of some day


class Counted:
    """Counts by one clock, in gateways that take turns."""

    def __init__(self, rule: Rule) -> None:
        self.now: float = MIDNIGHT + 1000
        self._gateways = cycle([ClientLimits(lambda client: rule, lambda: self.now, lambda: self.now)])

    def wait(self, seconds: float) -> None:
        self.now += seconds

    @asynccontextmanager
    async def admit(self, client: str = "a") -> AsyncIterator[None]:
        async with next(self._gateways).admit(client):
            yield

    async def count(self) -> None:
        await next(self._gateways).count("a")

    async def pass_through(self, client: str = "a") -> None:
        async with self.admit(client):
            pass

    async def refused(self, client: str = "a") -> int:
        """The Retry-After of a refusal."""
        with pytest.raises(RateLimited) as caught:
            await self.pass_through(client)
        return int(caught.value.headers["Retry-After"])


Counting = Callable[[Rule], Counted]


@pytest.fixture(params=["process", "redis"])
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Counting:
    if request.param == "process":
        return Counted
    link, inside = request.getfixturevalue("link"), request.getfixturevalue("inside")
    script = redis_limits.ADMIT.replace("redis.call('TIME')", "redis.call('LRANGE', 'clock', 0, 1)")
    assert script != redis_limits.ADMIT
    monkeypatch.setattr(redis_limits, "ADMIT", script)

    class InRedis(Counted):
        def __init__(self, rule: Rule) -> None:
            super().__init__(rule)
            self._gateways = cycle([RedisLimits(lambda client: rule, link(), 30.0) for _ in range(2)])
            self.wait(0)

        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            inside.delete("clock")
            inside.rpush("clock", int(self.now), round(1e6 * (self.now % 1)))

    return InRedis


async def test_a_burst_is_admitted_and_then_one_request_at_a_time(counting: Counting) -> None:
    counted = counting(Rule(rate=0.5, burst=2))
    for _ in range(2):
        await counted.pass_through()

    assert await counted.refused() == 2
    await counted.pass_through("b")
    counted.wait(2)
    await counted.pass_through()
    assert await counted.refused() == 2


async def test_a_refusal_costs_no_token(counting: Counting) -> None:
    counted = counting(Rule(rate=1, burst=1))
    await counted.pass_through()
    for _ in range(10):
        counted.wait(0.05)
        await counted.refused()

    counted.wait(0.5)
    await counted.pass_through()


async def test_a_concurrent_place_is_free_again_once_its_request_ends_or_fails(counting: Counting) -> None:
    counted = counting(Rule(concurrent=2))

    async def fail() -> None:
        async with counted.admit():
            assert await counted.refused() == 1
            await counted.pass_through("b")
            raise ValueError("broken")

    async with counted.admit():
        with pytest.raises(ValueError, match="broken"):
            await fail()
        await counted.pass_through()


async def test_a_daily_quota_is_renewed_at_midnight(counting: Counting) -> None:
    counted = counting(Rule(daily=2, concurrent=5))
    for _ in range(2):
        await counted.pass_through()

    assert await counted.refused() == DAY - 1000
    await counted.pass_through("b")
    counted.wait(DAY - 999)
    for _ in range(2):
        await counted.pass_through()
    await counted.refused()


async def test_a_request_within_a_stream_counts_for_rate_and_day_in_the_place_of_the_stream(
    counting: Counting,
) -> None:
    counted = counting(Rule(rate=1, burst=3, daily=4, concurrent=1))
    async with counted.admit():
        for _ in range(2):
            await counted.count()

        with pytest.raises(RateLimited, match="a second"):
            await counted.count()
        counted.wait(3)
        await counted.count()  # the refused one does not count for the day
        with pytest.raises(RateLimited, match="today"):
            await counted.count()


@given(st.lists(st.floats(0, 3), max_size=60))
async def test_no_period_has_more_requests_than_rate_and_burst_allow(pauses: list[float]) -> None:
    counted = Counted(Rule(rate=2, burst=3))
    times = []
    for pause in pauses:
        counted.wait(pause)
        try:
            await counted.pass_through()
        except RateLimited:
            continue
        times.append(counted.now)

    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= 3 + 2 * (times[last] - begin) + 1e-6


async def test_memory_holds_a_bounded_number_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CLIENTS", 2)
    counted = Counted(Rule(rate=1, burst=1))
    for client in "abc":
        await counted.pass_through(client)

    await counted.pass_through("a")  # was dropped first
    await counted.refused("c")
    assert next(counted._gateways).nbytes == 2 * limits.BYTES_PER_CLIENT


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


async def test_each_client_has_its_own_rule() -> None:
    counted = ClientLimits(lambda client: Rule(concurrent=1) if client == "a" else Rule())
    async with AsyncExitStack() as stack:
        for client in "abbb":
            await stack.enter_async_context(counted.admit(client))

        with pytest.raises(RateLimited):
            await stack.enter_async_context(counted.admit("a"))
