"""The limits of one client, counted in Redis for all gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import redis

from lexiseg_service.errors import RateLimited
from lexiseg_service.gateway.admission import redis_limits
from lexiseg_service.gateway.admission.limits import Rule
from lexiseg_service.gateway.admission.redis_limits import RedisGate, _renew
from lexiseg_service.redis_link import RedisLink
from tests.integration.shared_state.patience import PATIENT, SHORT
from tests.redis_server import RedisServer

PLACES = "lexiseg:limit:{a}:places"
BUCKET = "lexiseg:limit:{a}:rate"
DAY = "lexiseg:limit:{a}:day"
MIDNIGHT = 20_000 * 86_400  # that of some day


@pytest.fixture
def at(inside: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Tells Redis the time, in seconds: a day must not end by itself while a test counts."""
    told = redis_limits.ENTER.replace("redis.call('TIME')", "redis.call('LRANGE', 'clock', 0, 1)")
    assert told != redis_limits.ENTER
    monkeypatch.setattr(redis_limits, "ENTER", told)

    def tell(seconds: int) -> None:
        inside.delete("clock")
        inside.rpush("clock", seconds, 0)

    return tell


async def refusal(gate: RedisGate) -> int:
    """Seconds to wait by the refusal."""
    with pytest.raises(RateLimited) as caught:
        await gate.enter("a")
    return int(caught.value.headers["Retry-After"])


async def test_gateways_count_one_clients_rate_together(link: Callable[..., RedisLink], inside: redis.Redis) -> None:
    gates = [RedisGate(Rule(rate=0.001, burst=2), link(), PATIENT) for _ in range(2)]
    for gate in gates:
        await gate.enter("a")

    assert 900 < await refusal(gates[0]) <= 1000
    assert 0 < inside.pttl(BUCKET) <= 2_001_000
    since = float(inside.hget(BUCKET, "since") or 0)
    inside.hset(BUCKET, "since", since - 1000)  # a thousand seconds pass
    await gates[1].enter("a")
    await refusal(gates[0])
    await gates[0].enter("b")


async def test_gateways_count_one_clients_day_together(
    link: Callable[..., RedisLink], inside: redis.Redis, at: Callable[[int], None]
) -> None:
    gates = [RedisGate(Rule(daily=2, concurrent=5), link(), PATIENT) for _ in range(2)]
    at(MIDNIGHT - 60)
    for gate in gates:
        await gate.leave("a", await gate.enter("a"))

    assert await refusal(gates[0]) == 60
    await gates[0].enter("b")
    at(MIDNIGHT)
    await gates[1].enter("a")
    assert inside.hget(DAY, "used") == b"1"
    assert 0 < inside.ttl(DAY) <= 172_800


async def test_another_question_within_a_stream_counts_for_the_rate_and_the_day_of_all_gateways(
    link: Callable[..., RedisLink], inside: redis.Redis, at: Callable[[int], None]
) -> None:
    one, other = (RedisGate(Rule(rate=0.001, burst=3, daily=3, concurrent=1), link(), PATIENT) for _ in range(2))
    at(MIDNIGHT)
    ticket = await one.enter("a")

    await one.count("a")
    await other.count("a")

    assert inside.zrange(PLACES, 0, -1) == [ticket.encode()]  # in the place that it has, which is the only one
    assert inside.hget(DAY, "used") == b"3"
    with pytest.raises(RateLimited, match="today"):
        await other.count("a")
    inside.hset(DAY, "used", 0)
    with pytest.raises(RateLimited, match="a second"):
        await one.count("a")
    assert inside.hget(DAY, "used") == b"0"  # what is refused is none of the day's
    await one.leave("a", ticket)
    await one.close()


async def test_another_question_of_whom_only_places_limit_asks_nothing_of_redis(
    link: Callable[..., RedisLink], inside: redis.Redis
) -> None:
    gate = RedisGate(Rule(concurrent=1), link(), PATIENT)

    await gate.count("a")

    assert inside.dbsize() == 0


async def test_without_redis_each_gateway_counts_another_question_alone(
    link: Callable[..., RedisLink], server: RedisServer
) -> None:
    gate = RedisGate(Rule(rate=0.001, burst=2, concurrent=1), link(SHORT), PATIENT)
    ticket = await gate.enter("a")
    server.kill()

    await gate.count("a")
    await gate.count("a")
    with pytest.raises(RateLimited, match="a second"):
        await gate.count("a")
    await gate.leave("a", ticket)
    await gate.close()


async def test_a_client_without_limits_asks_nothing_of_redis(
    link: Callable[..., RedisLink], inside: redis.Redis
) -> None:
    gate = RedisGate(lambda client: Rule(), link(), PATIENT)

    await gate.leave("a", await gate.enter("a"))

    assert inside.dbsize() == 0


async def test_gateways_count_one_clients_places_together(link: Callable[..., RedisLink]) -> None:
    one, other = (RedisGate(Rule(concurrent=1), link(), PATIENT) for _ in range(2))
    ticket = await one.enter("a")

    assert await refusal(other) == 1
    await one.leave("a", ticket)
    await other.enter("a")


async def test_a_gateway_that_died_gives_its_places_back(link: Callable[..., RedisLink], inside: redis.Redis) -> None:
    gate = RedisGate(Rule(concurrent=1), link(), PATIENT)
    ticket = await gate.enter("a")

    inside.zadd(PLACES, {ticket: 1.0})  # its lease ended long ago

    await gate.enter("a")


async def test_a_place_that_is_held_for_long_stays_taken(link: Callable[..., RedisLink], inside: redis.Redis) -> None:
    gate, other = (RedisGate(Rule(concurrent=1), link(), 3.0) for _ in range(2))
    ticket = await gate.enter("a")
    began = inside.zscore(PLACES, ticket)
    assert began is not None
    async with asyncio.timeout(20):
        while (inside.zscore(PLACES, ticket) or 0.0) < began + 0.5:
            await asyncio.sleep(0.02)

    assert await refusal(other) == 1
    await gate.leave("a", ticket)
    other_ticket = await other.enter("a")
    await asyncio.to_thread(_renew, inside, held={ticket: "a"}, lease=3.0)
    assert inside.zrange(PLACES, 0, -1) == [other_ticket.encode()]  # what was given back does not come to life
    await gate.close()
    await other.close()


async def test_without_redis_each_gateway_counts_alone(link: Callable[..., RedisLink], server: RedisServer) -> None:
    gate = RedisGate(Rule(rate=0.001, burst=2, concurrent=1), link(SHORT), PATIENT)
    before = await gate.enter("a")
    server.kill()

    ticket = await gate.enter("a")
    assert await refusal(gate) == 1
    await gate.leave("a", ticket)
    await gate.leave("a", before)
    await gate.enter("a")
