"""What Redis keeps of the limits of a client, and what becomes of it while Redis is away."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
import redis

from lexiseg_service.errors import RateLimited
from lexiseg_service.gateway.admission.limits import Rule
from lexiseg_service.gateway.admission.redis_limits import RedisLimits, _renew
from lexiseg_service.redis_link import RedisLink
from tests.redis_server import RedisServer
from tests.waiting import SOON

PLACES, DUE, DAY = (f"lexiseg:limit:{{a}}:{name}" for name in ("places", "due", "day"))


def limited(rule: Rule, link: RedisLink, lease: float = 30.0) -> RedisLimits:
    return RedisLimits(lambda client: rule, link, lease)


async def pass_through(limits: RedisLimits) -> None:
    async with limits.admit("a"):
        pass


async def refusal(limits: RedisLimits) -> int:
    """The Retry-After of a refusal."""
    with pytest.raises(RateLimited) as caught:
        await pass_through(limits)
    return int(caught.value.headers["Retry-After"])


async def test_what_is_counted_expires(link: Callable[..., RedisLink], inside: redis.Redis) -> None:
    limits = limited(Rule(rate=0.001, burst=2, daily=2, concurrent=1), link())
    async with limits.admit("a"):
        assert inside.zcard(PLACES) == 1
        assert 0 < inside.pttl(PLACES) <= 31_000

    assert 0 < inside.pttl(DUE) <= 1_001_000
    assert 0 < inside.ttl(DAY) <= 172_800


async def test_a_client_without_limits_needs_no_redis(link: Callable[..., RedisLink], inside: redis.Redis) -> None:
    unlimited, only_places = limited(Rule(), link()), limited(Rule(concurrent=1), link())

    await pass_through(unlimited)
    await only_places.count("a")

    assert inside.dbsize() == 0


async def test_the_places_of_a_gateway_that_died_expire(link: Callable[..., RedisLink], inside: redis.Redis) -> None:
    limits = limited(Rule(concurrent=1), link())
    async with limits.admit("a"):
        (ticket,) = inside.zrange(PLACES, 0, -1)
        assert isinstance(ticket, bytes)
        inside.zadd(PLACES, {ticket: 1.0})  # its lease ended long ago

        await pass_through(limits)


async def test_a_place_that_is_held_for_long_stays_taken(link: Callable[..., RedisLink], inside: redis.Redis) -> None:
    one, other = (limited(Rule(concurrent=1), link(), 3.0) for _ in range(2))
    async with one.admit("a"):
        (ticket,) = inside.zrange(PLACES, 0, -1)
        assert isinstance(ticket, bytes)
        began = inside.zscore(PLACES, ticket) or 0.0
        async with asyncio.timeout(SOON):
            while (inside.zscore(PLACES, ticket) or 0.0) < began + 0.5:
                await asyncio.sleep(0.02)
        assert await refusal(other) == 1
    async with other.admit("a"):
        (others_ticket,) = inside.zrange(PLACES, 0, -1)
        await asyncio.to_thread(_renew, inside, "a", ticket.decode(), 3.0)
        assert inside.zrange(PLACES, 0, -1) == [others_ticket]  # a released lease is not renewed
    await one.close()
    await other.close()


async def test_without_redis_each_gateway_counts_alone(
    link: Callable[..., RedisLink], redis_server: RedisServer
) -> None:
    limits = limited(Rule(rate=0.001, burst=3, concurrent=1), link())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(limits.admit("a"))
        redis_server.kill()

        async with limits.admit("a"):
            assert await refusal(limits) == 1
        await limits.count("a")
        await pass_through(limits)
        with pytest.raises(RateLimited, match="a second"):
            await limits.count("a")
    await limits.close()
