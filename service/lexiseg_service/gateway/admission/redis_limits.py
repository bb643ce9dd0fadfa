"""Rate limits that Redis counts for all gateways together."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from operator import methodcaller
from typing import Any

from lexiseg_service.gateway.admission.limits import ClientLimits, Rule, RuleOf
from lexiseg_service.redis_link import RedisAway, RedisLink

# The clock is Redis's own, because the gateways' differ. A concurrent place is a lease, so that the places of a
# gateway that dies expire. KEYS: due, places, day. ARGV: rate, burst, concurrent, daily (0: off), lease, ticket.
ADMIT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local rate, burst, concurrent, daily = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local day = math.floor(time[1] / 86400)
if concurrent > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= concurrent then return {'concurrent', '0'} end
end
if daily > 0 then
  local used = redis.call('HMGET', KEYS[3], 'day', 'used')
  if tonumber(used[1] or -1) ~= day then
    redis.call('HSET', KEYS[3], 'day', day, 'used', 0)
    redis.call('EXPIRE', KEYS[3], 172800)
  elseif tonumber(used[2]) >= daily then
    return {'daily', tostring((day + 1) * 86400 - time[1])}
  end
end
if rate > 0 then
  local due = math.max(now, tonumber(redis.call('GET', KEYS[1]) or now)) + 1 / rate
  local early = due - now - burst / rate
  if early > 1e-6 then return {'rate', string.format('%.6f', early)} end
  redis.call('SET', KEYS[1], string.format('%.6f', due), 'PX', math.ceil(1000 * (due - now)) + 1000)
end
if daily > 0 then redis.call('HINCRBY', KEYS[3], 'used', 1) end
if concurrent > 0 then
  redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], math.ceil(1000 * ARGV[5]) + 1000)
end
return {'ok', '0'}
"""
RENEWALS = 3  # of a lease, before it would expire


class RedisLimits(ClientLimits):
    """Counts in Redis, and within this process while Redis is away; leases of long calls are renewed."""

    def __init__(self, rule_of: RuleOf, link: RedisLink, lease_seconds: float) -> None:
        super().__init__(rule_of)
        self._link = link
        self._lease = lease_seconds

    @asynccontextmanager
    async def admit(self, client: str) -> AsyncIterator[None]:
        rule = self._rule_of(client)
        if not rule.is_on:
            yield
            return
        ticket = uuid.uuid4().hex
        try:
            await self._ask(client, rule, ticket)
        except RedisAway:
            async with super().admit(client):
                yield
            return
        if rule.concurrent is None:
            yield
            return
        renewing = asyncio.create_task(self._renew_forever(client, ticket))
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(RedisAway):  # the lease expires by itself
                await self._link.ask(methodcaller("zrem", _keys(client)[1], ticket))

    async def count(self, client: str) -> None:
        rule = replace(self._rule_of(client), concurrent=None)
        if not rule.is_on:
            return
        try:
            await self._ask(client, rule, "")
        except RedisAway:
            await super().count(client)

    async def close(self) -> None:
        self._link.close()

    async def _ask(self, client: str, rule: Rule, ticket: str) -> None:
        """Count a request in Redis, and take a concurrent place where the rule limits them."""
        arguments = (rule.rate or 0, rule.burst, rule.concurrent or 0, rule.daily or 0, self._lease, ticket)
        limit, seconds = await self._link.ask(methodcaller("eval", ADMIT, 3, *_keys(client), *arguments))
        if limit != b"ok":
            raise rule.refusal(limit.decode(), float(seconds))

    async def _renew_forever(self, client: str, ticket: str) -> None:
        while True:
            await asyncio.sleep(self._lease / RENEWALS)
            with suppress(RedisAway):  # renewed next time, or the lease expires
                await self._link.ask(partial(_renew, client=client, ticket=ticket, lease=self._lease))


def _renew(redis: Any, client: str, ticket: str, lease: float) -> None:
    places, (seconds, microseconds) = _keys(client)[1], redis.time()
    redis.zadd(places, {ticket: seconds + microseconds / 1e6 + lease}, xx=True)
    redis.pexpire(places, math.ceil(1000 * lease) + 1000)


def _keys(client: str) -> tuple[str, str, str]:
    place = f"lexiseg:limit:{{{client}}}"
    return f"{place}:due", f"{place}:places", f"{place}:day"
